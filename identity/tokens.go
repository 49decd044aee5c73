package identity

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
)

// TokenLife is how long a registry password is good (ECR API,
// GetAuthorizationToken).
const TokenLife = 12 * time.Hour

// A token is a registry password that has been opened.
type token struct {
	accessKeyID string
	session     *session // nil for a token of an access key
	expires     time.Time
	principal   *iam.Principal
	until       time.Time // when the principal must be looked up again
}

// The plain form of a password: when it expires in seconds since 1970, eight
// bytes; then the access key ID, or the session as JSON.

// GetAuthorizationToken returns a password for the registry that stands for
// the caller in this region, and when it expires: with the caller's session at
// the latest. There is no colon in it.
func (i *Identity) GetAuthorizationToken(ctx context.Context, c ecr.Caller) (password string, expires time.Time, err error) {
	const action = "ecr:GetAuthorizationToken"
	if err := i.denied(ctx, c, action, c.Account, i.allow(c, action, c.Account, "*", nil)); err != nil {
		return "", time.Time{}, err
	}
	if c.AccessKeyID == "" {
		return "", time.Time{}, ecr.Errorf(ecr.InvalidParameter, "A token is given to callers with an access key")
	}
	expires = i.now().Add(TokenLife).Truncate(time.Second)
	who := []byte(c.AccessKeyID)
	if c.SessionToken != "" {
		s, err := i.openSession(c.SessionToken)
		if err != nil {
			return "", time.Time{}, err
		}
		if end := time.Unix(s.Expires, 0); end.Before(expires) {
			expires = end
		}
		s.Secret = "" // a password signs nothing
		if who, err = json.Marshal(s); err != nil {
			return "", time.Time{}, err
		}
	}
	plain := binary.BigEndian.AppendUint64(nil, uint64(expires.Unix()))
	sealed := i.tokens.seal(append(plain, who...), i.region)
	return base64.RawURLEncoding.EncodeToString(sealed), expires, nil
}

var (
	errBadToken     = ecr.Errorf(ecr.BadCredentials, "Your authorization token is not valid in this region. Log in again")
	errExpiredToken = ecr.Errorf(ecr.ExpiredCredentials, "Your authorization token has expired. Reauthenticate and try again.")
)

// maxPassword bounds a registry password.
const maxPassword = maxSessionToken

// OpenToken returns whom a registry password stands for, and the access key
// that it was made with. Errors: BadCredentials for one that was not made here
// or whose key, user or role is gone, ExpiredCredentials.
func (i *Identity) OpenToken(ctx context.Context, password string) (p *iam.Principal, accessKeyID string, err error) {
	now := i.now()
	i.mu.RLock()
	t := i.opened[password]
	i.mu.RUnlock()
	if t == nil {
		if t, err = i.unseal(password); err != nil {
			return nil, "", err
		}
	}
	if !now.Before(t.expires) {
		return nil, "", errExpiredToken
	}
	if now.Before(t.until) {
		return t.principal, t.accessKeyID, nil
	}
	var c *credential
	if t.session != nil {
		c, err = i.credentialOf(ctx, t.session)
	} else {
		c, err = i.credential(ctx, t.accessKeyID)
	}
	var known *ecr.Error
	if errors.As(err, &known) && known.Code == ecr.BadCredentials {
		return nil, "", errBadToken
	}
	if err != nil {
		return nil, "", err
	}
	fresh := *t
	fresh.principal, fresh.until = c.principal, c.until
	i.mu.Lock()
	defer i.mu.Unlock()
	evict(i.opened, maxKnown)
	i.opened[password] = &fresh
	return c.principal, t.accessKeyID, nil
}

func (i *Identity) unseal(password string) (*token, error) {
	if len(password) > maxPassword || strings.ContainsAny(password, "\r\n") { // the decoder passes over those
		return nil, errBadToken
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(password)
	if err != nil {
		return nil, errBadToken
	}
	plain, err := i.tokens.open(sealed, i.region)
	if err != nil || len(plain) < 9 {
		return nil, errBadToken
	}
	t := &token{accessKeyID: string(plain[8:]), expires: time.Unix(int64(binary.BigEndian.Uint64(plain)), 0)}
	if plain[8] == '{' {
		t.session = new(session)
		if err := json.Unmarshal(plain[8:], t.session); err != nil {
			return nil, errBadToken
		}
		t.accessKeyID = t.session.Key
	}
	return t, nil
}
