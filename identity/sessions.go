package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
	"github.com/ecruhq/ecru/meta"
)

// A session is all that is known of temporary credentials: it is sealed into
// their session token and kept nowhere. The role or user that it names is
// looked up at least every TTL, so that it ends with it.
type session struct {
	Key       string            `json:"k"` // ASIA…
	Secret    string            `json:"s"`
	Principal string            `json:"p"` // unique ID of the role or user
	Name      string            `json:"n,omitempty"`
	Policies  []string          `json:"d,omitempty"` // documents
	Managed   []string          `json:"m,omitempty"` // ARNs
	Tags      map[string]string `json:"t,omitempty"`
	Kept      []string          `json:"x,omitempty"` // keys of transitive tags
	Source    string            `json:"i,omitempty"` // source identity
	Issued    int64             `json:"a"`           // seconds since 1970
	Expires   int64             `json:"e"`
}

// Credentials are temporary credentials (STS API, Credentials).
type Credentials struct {
	AccessKeyID, Secret, SessionToken string
	Expires                           time.Time
}

// Session bounds (STS API, AssumeRole).
const (
	maxSessionToken  = 16 << 10
	maxSessionPolicy = 2048
	maxSessionARNs   = 10
	chainedSession   = time.Hour // of a role that was assumed with a session
	maxUserSession   = 36 * time.Hour
)

var sessionNameForm = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// AssumeRoleInput says which role to assume, and how.
type AssumeRoleInput struct {
	RoleARN        string
	SessionName    string
	Duration       time.Duration // 0 means an hour
	Policy         string
	PolicyARNs     []string
	Tags           []ecr.Tag
	TransitiveTags []string
	ExternalID     string
	SourceIdentity string
}

// An AssumedRole is a role session.
type AssumedRole struct {
	Credentials
	ARN            string
	ID             string // AROA…:name
	SourceIdentity string
}

func (in *AssumeRoleInput) check() error {
	if !sessionNameForm.MatchString(in.SessionName) {
		return ecr.Errorf(ecr.Validation, "The role session name has 2 to 64 characters of A-Z a-z 0-9 + = , . @ _ -")
	}
	if in.SourceIdentity != "" && (!sessionNameForm.MatchString(in.SourceIdentity) || strings.HasPrefix(strings.ToLower(in.SourceIdentity), "aws:")) {
		return ecr.Errorf(ecr.Validation, "The source identity has 2 to 64 characters of A-Z a-z 0-9 + = , . @ _ -")
	}
	if in.Duration == 0 {
		in.Duration = defaultSession
	}
	if in.Duration < minSession || in.Duration > maxSession {
		return ecr.Errorf(ecr.Validation, "DurationSeconds must be between 900 and 43200")
	}
	if len(in.Policy) > maxSessionPolicy || len(in.PolicyARNs) > maxSessionARNs {
		return ecr.Errorf(ecr.Validation, "A session policy has at most %d characters, and there can be %d managed ones", maxSessionPolicy, maxSessionARNs)
	}
	if in.Policy != "" {
		if err := checkDocument(in.Policy); err != nil {
			return err
		}
	}
	return checkTags(nil, in.Tags, nil)
}

// roleNamed returns the role of an ARN, or ErrNotFound.
func roleNamed(tx *meta.Tx, roleARN string) (meta.Principal, error) {
	rest, ok := strings.CutPrefix(roleARN, "arn:aws:iam::")
	account, path, ok2 := strings.Cut(rest, ":role/")
	if !ok || !ok2 || !accountForm.MatchString(account) {
		return meta.Principal{}, meta.ErrNotFound
	}
	r, err := tx.PrincipalNamed(account, string(Role), path[strings.LastIndexByte(path, '/')+1:])
	if err == nil && arn(r) != roleARN {
		err = meta.ErrNotFound
	}
	return r, err
}

// AssumeRole returns temporary credentials of a role whose trust policy, and
// whose own policies where that is needed, let the caller assume it (STS API,
// AssumeRole). Errors: AccessDenied, also for a role that does not exist;
// Validation, MalformedPolicy.
func (i *Identity) AssumeRole(ctx context.Context, c ecr.Caller, in AssumeRoleInput) (AssumedRole, error) {
	if err := in.check(); err != nil {
		return AssumedRole{}, err
	}
	const action = "sts:AssumeRole"
	if c.Principal.Root {
		return AssumedRole{}, i.denied(ctx, c, action, c.Account, ecr.Errorf(ecr.AccessDenied, "Roles may not be assumed by root accounts."))
	}
	if c.RoleARN != "" && in.Duration > chainedSession {
		return AssumedRole{}, ecr.Errorf(ecr.Validation, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	if err := i.denied(ctx, c, action, c.Account, i.inherit(c, &in)); err != nil {
		return AssumedRole{}, err
	}
	return i.assume(ctx, c, action, in, nil)
}

// inherit completes what is asked for with what passes from session to session
// (IAM user guide, "Pass session tags" and "Monitor and control actions taken
// with assumed roles"): the source identity and transitive tags, which cannot
// be set anew.
func (i *Identity) inherit(c ecr.Caller, in *AssumeRoleInput) error {
	if c.SessionToken == "" {
		return nil
	}
	s, err := i.openSession(c.SessionToken)
	if err != nil {
		return err
	}
	if s.Source != "" {
		if in.SourceIdentity != "" && in.SourceIdentity != s.Source {
			return ecr.Errorf(ecr.AccessDenied, "The session's source identity is %s, and cannot be changed.", s.Source)
		}
		in.SourceIdentity = s.Source
	}
	for _, key := range s.Kept {
		if slices.ContainsFunc(in.Tags, func(t ecr.Tag) bool { return strings.EqualFold(t.Key, key) }) {
			return ecr.Errorf(ecr.Validation, "The tag %s is transitive in the session that calls, and cannot be set anew.", key)
		}
		in.Tags = append(slices.Clip(in.Tags), ecr.Tag{Key: key, Value: s.Tags[key]})
		in.TransitiveTags = append(slices.Clip(in.TransitiveTags), key)
	}
	return nil
}

// A WebIdentity is who an OIDC provider says that somebody is.
type WebIdentity struct {
	Subject, Audience, Issuer string
	Claims                    map[string][]string // condition keys without the provider's prefix: aud, sub, amr, …
}

// AssumeRoleWithWebIdentity is AssumeRole for the bearer of a provider's token
// (STS API). verify checks the token against the record of the provider that
// its issuer has in the role's account.
func (i *Identity) AssumeRoleWithWebIdentity(ctx context.Context, c ecr.Caller, in AssumeRoleInput, issuer string, verify func(context.Context, OIDCProvider) (WebIdentity, error)) (AssumedRole, WebIdentity, error) {
	if err := in.check(); err != nil {
		return AssumedRole{}, WebIdentity{}, err
	}
	rest := strings.TrimPrefix(in.RoleARN, "arn:aws:iam::")
	account, _, _ := strings.Cut(rest, ":")
	if c.Call != nil && accountForm.MatchString(account) {
		c.Call.Repository.Account = account // the attempt is in its trail
	}
	var provider []meta.OIDCProvider
	err := i.db.View(ctx, func(tx *meta.Tx) (err error) {
		provider, err = tx.OIDCProviders(account, strings.TrimPrefix(issuer, "https://"))
		return err
	})
	if err != nil {
		return AssumedRole{}, WebIdentity{}, err
	}
	if strings.TrimPrefix(issuer, "https://") == "" || len(provider) != 1 {
		return AssumedRole{}, WebIdentity{}, ecr.Errorf(ecr.InvalidIdentityToken, "No OpenIDConnect provider found in your account for %s", issuer)
	}
	who, err := verify(ctx, asProvider(provider[0]))
	if err != nil {
		return AssumedRole{}, WebIdentity{}, err
	}
	c.Principal = &iam.Principal{ARN: providerARN(account, provider[0].URL), Account: account, ID: who.Issuer + ":" + who.Audience + ":" + who.Subject,
		Name: who.Subject, Federated: providerARN(account, provider[0].URL)}
	claims := map[string][]string{}
	for k, v := range who.Claims {
		claims[strings.ToLower(provider[0].URL+":"+k)] = v
	}
	out, err := i.assume(ctx, c, "sts:AssumeRoleWithWebIdentity", in, claims)
	return out, who, err
}

// assume decides and makes the session.
func (i *Identity) assume(ctx context.Context, c ecr.Caller, action string, in AssumeRoleInput, claims map[string][]string) (out AssumedRole, err error) {
	keys := sessionKeys(in)
	maps.Copy(keys, claims)
	err = i.db.Update(ctx, func(tx *meta.Tx) error {
		role, err := roleNamed(tx, in.RoleARN)
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		if err != nil { // who may not assume it does not learn that it is not there
			nobody := iam.EvaluateTrust(&iam.Request{Principal: c.Principal, Action: action, Resource: in.RoleARN})
			return ecr.Denied(c, action, in.RoleARN, nobody)
		}
		trust, err := iam.Parse([]byte(role.Trust), iam.Trust)
		if err != nil {
			return err
		}
		actions := []string{action}
		if len(in.Tags) > 0 {
			actions = append(actions, "sts:TagSession")
		}
		if in.SourceIdentity != "" {
			actions = append(actions, "sts:SetSourceIdentity")
		}
		for _, a := range actions {
			d := iam.EvaluateTrust(&iam.Request{Principal: c.Principal, Action: a, Resource: in.RoleARN, Account: role.Account, Time: i.now(), ResourcePolicy: trust,
				Context: func(key string) []string {
					if v, ok := keys[key]; ok {
						return v
					}
					return i.condition(c, role.Tags, key)
				}})
			if !d.Allowed {
				return ecr.Denied(c, a, in.RoleARN, d)
			}
		}
		if in.Duration > role.MaxSession {
			return ecr.Errorf(ecr.Validation, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
		}
		for _, p := range in.PolicyARNs {
			if _, err := managed(tx, role.Account, p); err != nil {
				return err
			}
		}
		s := session{Principal: role.UniqueID, Name: in.SessionName, Managed: in.PolicyARNs, Source: in.SourceIdentity}
		if in.Policy != "" {
			s.Policies = []string{in.Policy}
		}
		for _, t := range in.Tags {
			if s.Tags == nil {
				s.Tags = map[string]string{}
			}
			s.Tags[t.Key] = t.Value
		}
		if s.Kept, err = kept(in); err != nil {
			return err
		}
		out = AssumedRole{ARN: sessionARN(role, in.SessionName), ID: role.UniqueID + ":" + in.SessionName, SourceIdentity: in.SourceIdentity}
		if out.Credentials, err = i.issue(&s, in.Duration); err != nil {
			return err
		}
		e := i.event(c, ecr.SessionStarted, action, role.Account)
		e.Tag = out.ARN
		return tx.Append(e)
	})
	return out, i.denied(ctx, c, action, c.Account, err)
}

// kept returns the keys of transitive tags as the tags have them.
func kept(in AssumeRoleInput) (keys []string, err error) {
	for _, key := range in.TransitiveTags {
		n := slices.IndexFunc(in.Tags, func(t ecr.Tag) bool { return strings.EqualFold(t.Key, key) })
		if n < 0 {
			return nil, ecr.Errorf(ecr.Validation, "The transitive tag key %q is not that of a session tag", key)
		}
		if !slices.Contains(keys, in.Tags[n].Key) {
			keys = append(keys, in.Tags[n].Key)
		}
	}
	return keys, nil
}

func sessionARN(role meta.Principal, name string) string {
	return "arn:aws:sts::" + role.Account + ":assumed-role/" + role.Name + "/" + name
}

// sessionKeys are the condition keys of a request for a session.
func sessionKeys(in AssumeRoleInput) map[string][]string {
	keys := map[string][]string{"sts:rolesessionname": {in.SessionName}}
	if in.ExternalID != "" {
		keys["sts:externalid"] = []string{in.ExternalID}
	}
	if in.SourceIdentity != "" {
		keys["sts:sourceidentity"] = []string{in.SourceIdentity}
	}
	for _, t := range in.Tags {
		keys["aws:requesttag/"+strings.ToLower(t.Key)] = []string{t.Value}
		keys["aws:tagkeys"] = append(keys["aws:tagkeys"], t.Key)
	}
	if len(in.TransitiveTags) > 0 {
		keys["sts:transitivetagkeys"] = in.TransitiveTags
	}
	return keys
}

// issue completes and seals a session.
func (i *Identity) issue(s *session, life time.Duration) (Credentials, error) {
	now := i.now()
	s.Key, s.Secret = "ASIA"+randomText(16, idAlphabet), randomText(40, base64Alphabet)
	s.Issued, s.Expires = now.Unix(), now.Add(life).Unix()
	plain, err := json.Marshal(s)
	if err != nil {
		return Credentials{}, err
	}
	token := base64.StdEncoding.EncodeToString(i.sessions.seal(plain, "session"))
	if len(token) > maxSessionToken {
		return Credentials{}, ecr.Errorf(ecr.PackedPolicyTooLarge, "The session's policies and tags are too large together")
	}
	return Credentials{s.Key, s.Secret, token, time.Unix(s.Expires, 0).UTC()}, nil
}

// GetSessionToken returns temporary credentials of a user for itself (STS API,
// GetSessionToken).
func (i *Identity) GetSessionToken(ctx context.Context, c ecr.Caller, life time.Duration) (Credentials, error) {
	if life == 0 {
		life = maxSession
	}
	const action = "sts:GetSessionToken"
	switch {
	case c.SessionToken != "":
		return Credentials{}, i.denied(ctx, c, action, c.Account, ecr.Errorf(ecr.AccessDenied, "Cannot call GetSessionToken with session credentials"))
	case c.Principal.Root:
		return Credentials{}, i.denied(ctx, c, action, c.Account, ecr.Errorf(ecr.AccessDenied, "Ecru gives no sessions to the root user: create a user or a role"))
	case life < minSession || life > maxUserSession:
		return Credentials{}, ecr.Errorf(ecr.Validation, "DurationSeconds must be between 900 and 129600")
	}
	var out Credentials
	err := i.db.Update(ctx, func(tx *meta.Tx) (err error) {
		if out, err = i.issue(&session{Principal: c.ID}, life); err != nil {
			return err
		}
		e := i.event(c, ecr.SessionStarted, action, c.Account)
		e.Tag = c.ARN
		return tx.Append(e)
	})
	return out, err
}

// errors of session tokens (STS and common errors).
var errExpiredSession = ecr.Errorf(ecr.ExpiredCredentials, "The security token included in the request is expired")

// openSession opens a session token that was made here.
func (i *Identity) openSession(token string) (*session, error) {
	if len(token) > maxSessionToken || strings.ContainsAny(token, "\r\n") { // the decoder passes over those
		return nil, errUnknownKey
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil {
		return nil, errUnknownKey
	}
	plain, err := i.sessions.open(sealed, "session")
	if err != nil {
		return nil, errUnknownKey
	}
	s := new(session)
	if err := json.Unmarshal(plain, s); err != nil {
		return nil, errUnknownKey
	}
	return s, nil
}

// SessionKey returns the secret of a session's access key and whose it is, from
// the session token that came with it. Errors: BadCredentials, also when the
// role or user is gone; ExpiredCredentials.
func (i *Identity) SessionKey(ctx context.Context, accessKeyID, token string) (secret string, p *iam.Principal, err error) {
	hash := sha256.Sum256([]byte(token))
	name := "session " + hex.EncodeToString(hash[:])
	now := i.now()
	i.mu.RLock()
	c := i.known[name]
	i.mu.RUnlock()
	if c == nil || !now.Before(c.until) {
		s, err := i.openSession(token)
		if err != nil {
			return "", nil, err
		}
		if c, err = i.credentialOf(ctx, s); err != nil {
			return "", nil, err
		}
		i.mu.Lock()
		evict(i.known, maxKnown)
		i.known[name] = c
		i.mu.Unlock()
	}
	if c.id != accessKeyID {
		return "", nil, errUnknownKey
	}
	if !now.Before(c.expires) {
		return "", nil, errExpiredSession
	}
	return c.secret, c.principal, nil
}

// credentialOf looks up who a session stands for.
func (i *Identity) credentialOf(ctx context.Context, s *session) (*credential, error) {
	now := i.now()
	c := &credential{id: s.Key, secret: s.Secret, until: now.Add(TTL), expires: time.Unix(s.Expires, 0)}
	if !now.Before(c.expires) {
		return nil, errExpiredSession
	}
	err := i.db.View(ctx, func(tx *meta.Tx) error {
		e, err := tx.PrincipalByID(s.Principal)
		if errors.Is(err, meta.ErrNotFound) {
			return errUnknownKey
		}
		if err != nil {
			return err
		}
		if c.principal, err = compile(tx, e); err != nil {
			return err
		}
		return s.narrow(tx, e, c.principal)
	})
	return c, err
}

// narrow makes of a role, or a user, its session.
func (s *session) narrow(tx *meta.Tx, e meta.Principal, p *iam.Principal) error {
	p.Issued = time.Unix(s.Issued, 0)
	p.SourceIdentity = s.Source
	if e.Kind != string(Role) {
		return nil
	}
	p.RoleARN = arn(e)
	p.ARN, p.ID, p.Name = sessionARN(e, s.Name), e.UniqueID+":"+s.Name, s.Name
	if len(s.Tags) > 0 {
		tags := maps.Clone(s.Tags)
		for old, value := range p.Tags {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(s.Tags)), func(k string) bool { return strings.EqualFold(k, old) }) {
				tags[old] = value
			}
		}
		p.Tags = tags
	}
	for _, text := range s.Policies {
		policy, err := iam.Parse([]byte(text), iam.Identity)
		if err != nil {
			return err
		}
		p.Session = append(p.Session, policy)
	}
	for _, a := range s.Managed {
		policy, err := managed(tx, e.Account, a)
		if err != nil {
			return err
		}
		p.Session = append(p.Session, policy)
	}
	return nil
}
