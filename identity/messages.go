package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// An authorizationMessage is what an encoded authorization message says (STS
// API, DecodeAuthorizationMessage).
type authorizationMessage struct {
	Allowed      bool `json:"allowed"`
	ExplicitDeny bool `json:"explicitDeny"`
	Matched      struct {
		Items []matchedStatement `json:"items"`
	} `json:"matchedStatements"`
	Context struct {
		Principal struct {
			ID   string `json:"id"`
			Name string `json:"name"`
			ARN  string `json:"arn"`
		} `json:"principal"`
		Action     string `json:"action"`
		Resource   string `json:"resource"`
		Conditions struct {
			Items []string `json:"items"`
		} `json:"conditions"`
	} `json:"context"`
	Reason string `json:"reason"` // Ecru's own
}

type matchedStatement struct {
	StatementID string `json:"statementId"`
	Index       int    `json:"index"`
	Effect      string `json:"effect"`
}

// EncodeDenial seals what there is to know of a denial, for who may call
// DecodeAuthorizationMessage.
func (i *Identity) EncodeDenial(d *ecr.Denial) string {
	var m authorizationMessage
	m.Matched.Items = []matchedStatement{}
	if s := d.Decision.Statement; s != nil {
		m.ExplicitDeny = true
		m.Matched.Items = append(m.Matched.Items, matchedStatement{s.Sid, s.Index, s.Effect})
	}
	m.Context.Principal.ID, m.Context.Principal.Name, m.Context.Principal.ARN = d.Caller.ID, d.Caller.Name, d.Caller.ARN
	m.Context.Action, m.Context.Resource, m.Context.Conditions.Items = d.Action, d.Resource, []string{}
	m.Reason = d.Decision.Reason()
	plain, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(i.messages.seal(plain, i.region))
}

// DecodeAuthorizationMessage opens what EncodeDenial made. Errors:
// InvalidMessage.
func (i *Identity) DecodeAuthorizationMessage(ctx context.Context, c ecr.Caller, message string) (text string, err error) {
	err = i.view(ctx, c, "sts:DecodeAuthorizationMessage", c.Account, "*", func(*meta.Tx) error {
		sealed, err := base64.RawURLEncoding.Strict().DecodeString(message)
		if err == nil {
			var plain []byte
			plain, err = i.messages.open(sealed, i.region)
			text = string(plain)
		}
		if err != nil {
			return ecr.Errorf(ecr.InvalidMessage, "Message could not be decoded: it is not of this server")
		}
		return nil
	})
	return text, err
}

// AccessKeyAccount returns the account that an access key belongs to, active
// or not (STS API, GetAccessKeyInfo).
func (i *Identity) AccessKeyAccount(ctx context.Context, c ecr.Caller, id string) (account string, err error) {
	err = i.view(ctx, c, "sts:GetAccessKeyInfo", c.Account, "*", func(tx *meta.Tx) error {
		k, err := tx.AccessKey(id)
		if errors.Is(err, meta.ErrNotFound) {
			return ecr.Errorf(ecr.Validation, "The access key %.128q is not one of this server's accounts", id)
		}
		account = k.Account
		return err
	})
	return account, err
}
