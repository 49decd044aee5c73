package identity

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/iam"
)

// A Region is a server of another region that may replicate to this one.
type Region struct {
	Name     string
	Keys     []ed25519.PublicKey // any of which its tokens are signed with
	Accounts []string            // whose registries it speaks for; nil means any
}

const (
	// regionTokenLife is how long a token between regions is good, and
	// regionTokenSkew how much the clocks of two regions may differ.
	regionTokenLife = 10 * time.Minute
	regionTokenSkew = 5 * time.Minute
	regionTokenMark = "ecru1." // what a token begins with
	maxRegionToken  = 2048
)

// Regions signs and opens the tokens by which the registries of regions know
// each other (docs/decisions/0010-replication-principal.md). Its methods are
// safe for concurrent use.
type Regions struct {
	own    string
	key    ed25519.PrivateKey
	peers  map[string]Region
	policy *iam.Policy
	now    func() time.Time
}

// replicationPolicy is the service-linked role's own: what a registry may do
// to others if those let it.
const replicationPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
	"Action":["ecr:CreateRepository","ecr:ReplicateImage","ecr:TagResource","ecr:BatchDeleteImage"],"Resource":"*"}]}`

// NewRegions returns the tokens of region own, whose key is derived from keys,
// which opens those of peers. A region knows itself.
func NewRegions(keys *Keyring, own string, peers []Region, now func() time.Time) (*Regions, error) {
	policy, err := iam.Parse([]byte(replicationPolicy), iam.Identity)
	if err != nil {
		return nil, err
	}
	r := &Regions{own: own, key: ed25519.NewKeyFromSeed(keys.Derive("replication")), peers: map[string]Region{},
		policy: policy.Named("policy of the service-linked role for replication"), now: now}
	r.peers[own] = Region{Name: own, Keys: []ed25519.PublicKey{r.key.Public().(ed25519.PublicKey)}}
	for _, p := range peers {
		if p.Name != own {
			r.peers[p.Name] = p
		}
	}
	return r, nil
}

// ParseRegionKey reads a key as PublicKey gives it.
func ParseRegionKey(text string) (ed25519.PublicKey, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%q is not the key of a region: ecru replication key prints it there", text)
	}
	return b, nil
}

// PublicKey is what other regions must know of this one.
func (r *Regions) PublicKey() string {
	return base64.RawURLEncoding.EncodeToString(r.key.Public().(ed25519.PublicKey))
}

// regionClaims are what a token says.
type regionClaims struct {
	From    string `json:"from"`    // region
	Account string `json:"account"` // whose registry replicates
	To      string `json:"to"`      // region
	Until   int64  `json:"until"`   // seconds since 1970
}

// Token returns a password for the registry of another region, and when a new
// one should be made.
func (r *Regions) Token(account, to string) (token string, renew time.Time) {
	now := r.now()
	claims := encode(regionClaims{From: r.own, Account: account, To: to, Until: now.Add(regionTokenLife).Unix()})
	text := regionTokenMark + base64.RawURLEncoding.EncodeToString(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(r.key, []byte(text))), now.Add(regionTokenLife / 2)
}

func encode(c regionClaims) []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and a number
	}
	return b
}

// Open returns whom a token stands for, and its region. Errors: BadCredentials
// for one that no region known here has signed for this one,
// ExpiredCredentials.
func (r *Regions) Open(token string) (p *iam.Principal, region string, err error) {
	bad := ecr.Errorf(ecr.BadCredentials, "The token is not one of a region that region %s knows: give it the other's key (ecru replication key) with --replication-region", r.own)
	text, signed, ok := cutLast(token)
	body, marked := strings.CutPrefix(text, regionTokenMark)
	if !ok || !marked || len(token) > maxRegionToken || strings.ContainsAny(token, "\r\n") {
		return nil, "", bad
	}
	claims, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return nil, "", bad
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(signed)
	if err != nil {
		return nil, "", bad
	}
	var c regionClaims
	if err := json.Unmarshal(claims, &c); err != nil || !isAccount(c.Account) {
		return nil, "", bad
	}
	peer, known := r.peers[c.From]
	good := func(k ed25519.PublicKey) bool { return ed25519.Verify(k, []byte(text), signature) }
	if !known || !slices.ContainsFunc(peer.Keys, good) {
		return nil, "", bad
	}
	if c.To != r.own {
		return nil, "", ecr.Errorf(ecr.BadCredentials, "The token is for region %s, and this is %s", c.To, r.own)
	}
	if peer.Accounts != nil && !slices.Contains(peer.Accounts, c.Account) {
		return nil, "", ecr.Errorf(ecr.BadCredentials, "Region %s does not speak for account %s here", c.From, c.Account)
	}
	until, now := time.Unix(c.Until, 0), r.now()
	if now.After(until.Add(regionTokenSkew)) || until.After(now.Add(regionTokenLife+regionTokenSkew)) {
		return nil, "", ecr.Errorf(ecr.ExpiredCredentials, "The token of region %s has expired, or the clocks of the two regions differ by more than %v", c.From, regionTokenSkew)
	}
	arn := ecr.ReplicationARN(c.Account, c.From)
	return &iam.Principal{
		ARN: arn, Account: c.Account, ID: arn[strings.LastIndexByte(arn, '/')+1:], RoleARN: ecr.ReplicationRoleARN(c.Account),
		Policies: []*iam.Policy{r.policy},
	}, c.From, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }
