package audit

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
)

// A Query says which records are looked for (CloudTrail API, LookupEvents).
type Query struct {
	// Attribute is EventId, EventName, ReadOnly, Username, ResourceType,
	// ResourceName, EventSource or AccessKeyId, which has Value; or "".
	Attribute, Value string
	From, To         time.Time // zero: as far as records go
	Limit            int
	Token            string // of the page before
}

// attributes are the columns of CloudTrail's lookup attributes.
var attributes = map[string]meta.AuditColumn{
	"EventId": meta.AuditEventID, "EventName": meta.AuditName, "ReadOnly": meta.AuditReadOnly, "Username": meta.AuditUsername,
	"ResourceType": meta.AuditResourceType, "ResourceName": meta.AuditResource, "EventSource": meta.AuditSource, "AccessKeyId": meta.AuditAccessKey,
}

// scan bounds the records that one page looks at.
const scan = 10_000

// Lookup returns a page of the records of the caller's account, the newest
// first, and the token of the next page, or "". A page may hold less than the
// limit and have a next one all the same.
func (l *Log) Lookup(ctx context.Context, c ecr.Caller, q Query) (out []meta.AuditRecord, next string, err error) {
	if err := l.id.Authorize(ctx, c, "cloudtrail:LookupEvents", "*"); err != nil {
		return nil, "", err
	}
	mq := meta.AuditQuery{Account: c.Account, From: q.From, To: q.To, Limit: q.Limit, Scan: scan}
	if q.To.IsZero() {
		mq.To = l.cfg.Now().Add(time.Hour)
	}
	if q.Attribute != "" {
		column, ok := attributes[q.Attribute]
		if !ok {
			return nil, "", ecr.Errorf(ecr.InvalidParameter, "There is no lookup attribute %q", q.Attribute)
		}
		mq.By, mq.Value = column, q.Value
		switch {
		case column == meta.AuditReadOnly:
			mq.Value = q.Value == "true"
		case column == meta.AuditResource && !strings.HasPrefix(q.Value, "arn:"):
			mq.Value = ecr.RepositoryID{Account: c.Account, Name: q.Value}.ARN(l.cfg.Region)
		}
	}
	if q.Token != "" {
		if mq.BeforeAt, mq.BeforeSeq, err = parseToken(q.Token); err != nil {
			return nil, "", err
		}
	}
	err = l.db.View(ctx, func(tx *meta.Tx) error {
		var last *meta.AuditRecord
		out, last, err = tx.LookupAudit(mq)
		if last != nil {
			next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", last.At.UnixMilli(), last.Seq))
		}
		return err
	})
	return out, next, err
}

func parseToken(token string) (at time.Time, seq int64, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	first, second, _ := strings.Cut(string(b), ".")
	ms, ok := positive(first)
	seq, ok2 := positive(second)
	if err != nil || !ok || !ok2 || strings.ContainsAny(token, "\r\n") { // the decoder passes over those
		return at, 0, ecr.Errorf(ecr.InvalidToken, "The token is not one that a page before gave")
	}
	return time.UnixMilli(ms).UTC(), seq, nil
}

// positive reads a number as it is written in a token.
func positive(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n > 0 && strconv.FormatInt(n, 10) == s
}
