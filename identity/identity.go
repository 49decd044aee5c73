// Package identity is the core of who may ask: the root user of each account,
// IAM users with their access keys and policies, and the tokens that stand for
// them at the registry. It is the only writer of these records.
//
// What a server keeps of a principal is at most TTL old, so that a key that is
// deactivated, here or by another process, ends everywhere within that time.
package identity

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
)

// TTL is the longest that a change to a principal takes to be seen everywhere.
const TTL = 5 * time.Second

// An Identity knows the principals of all accounts. Its methods are safe for
// concurrent use.
type Identity struct {
	db       *meta.DB
	region   string
	now      func() time.Time
	secrets  *box
	tokens   *box
	sessions *box
	messages *box

	mu     sync.RWMutex
	known  map[string]*credential // by access key ID, or by a hash of the session token
	opened map[string]*token      // by registry password
}

// New returns an Identity over the metadata database. Keys opens and seals the
// secrets in it.
func New(db *meta.DB, keys *Keyring, region string, now func() time.Time) *Identity {
	return &Identity{db: db, region: region, now: now, secrets: keys.box("access key secrets"), tokens: keys.box("registry tokens"), sessions: keys.box("session tokens"),
		messages: keys.box("authorization messages"),
		known:    map[string]*credential{}, opened: map[string]*token{}}
}

// A credential is an access key with its owner, as of a time.
type credential struct {
	id        string
	secret    string
	principal *iam.Principal
	until     time.Time // when it must be looked up again
	expires   time.Time // zero: an access key, which does not expire
}

// maxKnown bounds the credentials, and the tokens, kept in memory.
const maxKnown = 10_000

// Root returns the root user of an account.
func Root(account string) *iam.Principal {
	return &iam.Principal{ARN: "arn:aws:iam::" + account + ":root", Account: account, ID: account, Name: "root", Root: true}
}

var errUnknownKey = ecr.Errorf(ecr.BadCredentials, "The security token included in the request is invalid.")

// SecretKey returns the secret of an access key and whose it is; BadCredentials
// if there is none or it is inactive.
func (i *Identity) SecretKey(ctx context.Context, accessKeyID string) (secret string, p *iam.Principal, err error) {
	c, err := i.credential(ctx, accessKeyID)
	if err != nil {
		return "", nil, err
	}
	return c.secret, c.principal, nil
}

var keyForm = regexp.MustCompile(`^[A-Z0-9_]{4,128}$`)

func (i *Identity) credential(ctx context.Context, id string) (*credential, error) {
	now := i.now()
	i.mu.RLock()
	c := i.known[id]
	i.mu.RUnlock()
	if c != nil && now.Before(c.until) {
		return c, nil
	}
	if !keyForm.MatchString(id) {
		return nil, errUnknownKey
	}
	c = &credential{id: id, until: now.Add(TTL)}
	err := i.db.View(ctx, func(tx *meta.Tx) error {
		k, err := tx.AccessKey(id)
		if errors.Is(err, meta.ErrNotFound) || err == nil && !k.Active {
			return errUnknownKey
		}
		if err != nil {
			return err
		}
		plain, err := i.secrets.open(k.Secret, k.ID)
		if err != nil {
			return fmt.Errorf("secret of access key %s: %w", k.ID, err)
		}
		c.secret = string(plain)
		c.principal, err = owner(tx, k)
		return err
	})
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		delete(i.known, id)
		return nil, err
	}
	evict(i.known, maxKnown)
	i.known[id] = c
	return c, nil
}

// evict makes room for one more.
func evict[V any](m map[string]V, most int) {
	for k := range m {
		if len(m) < most {
			return
		}
		delete(m, k)
	}
}

// owner returns the owner of a key with its policies.
func owner(tx *meta.Tx, k meta.AccessKey) (*iam.Principal, error) {
	if k.User == 0 {
		return Root(k.Account), nil
	}
	u, err := tx.Principal(k.User)
	if err != nil {
		return nil, err
	}
	return compile(tx, u)
}

// compile returns a user or a role as one who acts, with the policies of its
// own and of its groups.
func compile(tx *meta.Tx, e meta.Principal) (*iam.Principal, error) {
	p := &iam.Principal{ARN: arn(e), Account: e.Account, ID: e.UniqueID, Name: e.Name}
	for _, t := range e.Tags {
		if p.Tags == nil {
			p.Tags = map[string]string{}
		}
		p.Tags[t.Key] = t.Value
	}
	from := []meta.Principal{e}
	if e.Kind == string(User) {
		groups, err := tx.GroupsOf(e.Row)
		if err != nil {
			return nil, err
		}
		from = append(from, groups...)
	}
	for _, e := range from {
		policies, err := policiesOf(tx, e)
		if err != nil {
			return nil, err
		}
		p.Policies = append(p.Policies, policies...)
	}
	if e.Boundary != "" {
		var err error
		if p.Boundary, err = managed(tx, e.Account, e.Boundary); err != nil {
			return nil, fmt.Errorf("boundary of %s %s: %w", e.Kind, e.Name, err)
		}
	}
	return p, nil
}

func policiesOf(tx *meta.Tx, e meta.Principal) (out []*iam.Policy, err error) {
	inline, err := tx.InlinePolicies(e.Row)
	if err != nil {
		return nil, err
	}
	for _, d := range inline {
		policy, err := iam.Parse([]byte(d.Document), iam.Identity)
		if err != nil {
			return nil, fmt.Errorf("policy %s of %s %s: %w", d.Name, e.Kind, e.Name, err)
		}
		out = append(out, policy.Named("inline policy "+d.Name+" of "+e.Kind+" "+e.Name))
	}
	attached, err := tx.Attachments(e.Row)
	if err != nil {
		return nil, err
	}
	for _, a := range attached {
		policy, err := managed(tx, e.Account, a)
		if err != nil {
			return nil, fmt.Errorf("policy of %s %s: %w", e.Kind, e.Name, err)
		}
		out = append(out, policy)
	}
	return out, nil
}

// managed compiles a managed policy: AWS's, or one of the account.
func managed(tx *meta.Tx, account, policy string) (*iam.Policy, error) {
	if p, ok := iam.Managed(policy); ok {
		return p.Named(policy), nil
	}
	if !strings.HasPrefix(policy, "arn:aws:iam::"+account+":policy/") {
		return nil, noPolicy(policy)
	}
	document, err := tx.DefaultDocument(policy)
	if errors.Is(err, meta.ErrNotFound) {
		return nil, noPolicy(policy)
	}
	if err != nil {
		return nil, err
	}
	p, err := iam.Parse([]byte(document), iam.Identity)
	if err != nil {
		return nil, err
	}
	return p.Named(policy), nil
}

// A target is what an action is done to.
type target struct {
	resource string // ARN
	tags     []ecr.Tag
	absent   func() error // the error of its absence, nil if it is there
}

// named is the target that needs no look-up.
func named(resource string) func(*meta.Tx) (target, error) {
	return func(*meta.Tx) (target, error) { return target{resource: resource}, nil }
}

// update is the door to a write: it decides, runs fn and appends the event in
// one transaction. Resource is the ARN of what is changed.
func (i *Identity) update(ctx context.Context, c ecr.Caller, action, account, resource string, fn func(*meta.Tx) error) error {
	return i.updateFound(ctx, c, action, account, named(resource), fn)
}

// updateFound is update for what must be looked up; a denied caller does not
// learn whether it is there.
func (i *Identity) updateFound(ctx context.Context, c ecr.Caller, action, account string, find func(*meta.Tx) (target, error), fn func(*meta.Tx) error) error {
	err := i.db.Update(ctx, func(tx *meta.Tx) error {
		if err := i.decide(tx, c, action, account, find); err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Append(i.event(c, ecr.IdentityChanged, action, account))
	})
	i.forget()
	return i.denied(ctx, c, action, account, err)
}

// view is the door to a read.
func (i *Identity) view(ctx context.Context, c ecr.Caller, action, account, resource string, fn func(*meta.Tx) error) error {
	return i.viewFound(ctx, c, action, account, named(resource), fn)
}

func (i *Identity) viewFound(ctx context.Context, c ecr.Caller, action, account string, find func(*meta.Tx) (target, error), fn func(*meta.Tx) error) error {
	err := i.db.View(ctx, func(tx *meta.Tx) error {
		if err := i.decide(tx, c, action, account, find); err != nil {
			return err
		}
		return fn(tx)
	})
	return i.denied(ctx, c, action, account, err)
}

func (i *Identity) decide(tx *meta.Tx, c ecr.Caller, action, account string, find func(*meta.Tx) (target, error)) error {
	t, err := find(tx)
	if err != nil {
		return err
	}
	if err := i.allow(c, action, account, t.resource, t.tags); err != nil {
		return err
	}
	if t.absent != nil {
		return t.absent()
	}
	return nil
}

// Authorize asks whether a caller may do an action in its own account, and
// records a denial. Errors: NotAuthenticated, AccessDenied.
func (i *Identity) Authorize(ctx context.Context, c ecr.Caller, action, resource string) error {
	account := ""
	if c.Principal != nil {
		account = c.Account
	}
	return i.denied(ctx, c, action, account, i.allow(c, action, account, resource, nil))
}

func (i *Identity) allow(c ecr.Caller, action, account, resource string, tags []ecr.Tag) error {
	if c.Principal == nil {
		return ecr.Errorf(ecr.NotAuthenticated, "Not Authorized")
	}
	d := iam.Evaluate(&iam.Request{
		Principal: c.Principal, Action: action, Resource: resource, Account: account, Time: i.now(),
		Context: func(key string) []string { return i.condition(c, tags, key) },
	})
	if d.Allowed {
		return nil
	}
	return ecr.Denied(c, action, resource, d)
}

// condition gives the values of a condition key, which is in lower case, for a
// request about what has the tags.
func (i *Identity) condition(c ecr.Caller, tags []ecr.Tag, key string) []string {
	if v := c.Condition("iam", i.region, tags, key); v != nil {
		return v
	}
	return c.Request[key]
}

// asking returns c with the condition keys of its request: key, value, key,
// value, …; an empty value is an absent key.
func asking(c ecr.Caller, tags []ecr.Tag, pairs ...string) ecr.Caller {
	request := map[string][]string{}
	for n := 0; n < len(pairs); n += 2 {
		if pairs[n+1] != "" {
			request[pairs[n]] = []string{pairs[n+1]}
		}
	}
	for _, t := range tags {
		request["aws:requesttag/"+strings.ToLower(t.Key)] = []string{t.Value}
		request["aws:tagkeys"] = append(request["aws:tagkeys"], t.Key)
	}
	c.Request = request
	return c
}

// untagging is asking for the keys of tags that are taken away.
func untagging(c ecr.Caller, keys []string) ecr.Caller {
	c.Request = map[string][]string{"aws:tagkeys": keys}
	return c
}

// denied records a denial before it is answered.
func (i *Identity) denied(ctx context.Context, c ecr.Caller, action, account string, err error) error {
	var e *ecr.Error
	if !errors.As(err, &e) || e.Code != ecr.AccessDenied {
		return err
	}
	if c.Call != nil {
		c.Call.Message = e.Message
	}
	event := i.event(c, ecr.CallDenied, action, account)
	event.Code = "AccessDenied"
	if err := i.db.Update(ctx, func(tx *meta.Tx) error { return tx.Append(event) }); err != nil {
		if c.Call != nil {
			c.Call.Recorded = ecr.NotRecorded
		}
		return fmt.Errorf("record a denied call: %w", err)
	}
	return e
}

func (i *Identity) event(c ecr.Caller, t ecr.EventType, action, account string) ecr.Event {
	if c.Call == nil { // a command on this machine, or the server's start
		service, name, _ := strings.Cut(action, ":")
		c.Call = &ecr.Call{Service: service + ".amazonaws.com", Name: name, Region: i.region}
		if c.RequestID == "" {
			c.RequestID = uuid.NewString()
		}
	}
	e := ecr.Event{At: i.now(), Type: t, Action: action, Repository: ecr.RepositoryID{Account: account},
		Principal: c.ARN, UserAgent: c.UserAgent, RequestID: c.RequestID, Caller: c}
	if c.SourceIP.IsValid() {
		e.SourceIP = c.SourceIP.String()
	}
	return e
}

// forget drops what is kept, after a change.
func (i *Identity) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.known)
	clear(i.opened)
}
