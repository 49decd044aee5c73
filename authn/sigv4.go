package authn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ecruhq/ecru/ecr"
)

// Signature Version 4 (AWS, "Create a signed AWS API request"), checked from
// the bytes of the request as they came.

const (
	algorithm = "AWS4-HMAC-SHA256"
	// globalRegion is the region that calls of global services are signed for.
	globalRegion = "us-east-1"
	timeLayout   = "20060102T150405Z"
	skew         = 5 * time.Minute
	maxExpires   = 7 * 24 * time.Hour
	emptyHash    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// A signature is what a request says of how it was signed.
type signature struct {
	accessKeyID string
	date        string // yyyymmdd
	region      string
	service     string
	headers     []string // signed, in lower case, in order
	signature   []byte
	time        time.Time
	stamp       string        // time as it was given
	expires     time.Duration // presigned only
	presigned   bool
	token       string // of a session, or ""
}

func incomplete(text string) *ecr.Error { return ecr.Errorf(ecr.BadCredentials, "%s", text) }

var errMismatch = ecr.Errorf(ecr.InvalidSignature, "The request signature we calculated does not match the signature you provided. "+
	"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")

// API identifies the caller of an API of a service, by the signature in its
// header or its query; body is the request's whole body. Errors:
// NotAuthenticated without a signature, BadCredentials, InvalidSignature.
func (a *Authenticator) API(r *http.Request, body []byte, service, requestID string) (ecr.Caller, error) {
	s, err := parseSignature(r)
	if err != nil {
		return ecr.Caller{}, err
	}
	if err := a.check(r, s, service); err != nil {
		return ecr.Caller{}, err
	}
	c := a.caller(r, requestID)
	secret, err := a.secret(r.Context(), s, &c)
	if err != nil {
		return ecr.Caller{}, err
	}
	hash := emptyHash
	if len(body) > 0 {
		sum := sha256.Sum256(body)
		hash = hex.EncodeToString(sum[:])
	}
	if given := r.Header.Get("X-Amz-Content-Sha256"); given != "" && given != hash {
		return ecr.Caller{}, incomplete("The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	canonical, err := canonicalRequest(r, s, hash)
	if err != nil {
		return ecr.Caller{}, err
	}
	key := a.keys.get(secret, s)
	sum := sha256.Sum256([]byte(canonical))
	want := mac(key, algorithm+"\n"+s.stamp+"\n"+s.scope()+"\n"+hex.EncodeToString(sum[:]))
	if !hmac.Equal(want, s.signature) {
		return ecr.Caller{}, errMismatch
	}
	return c, nil
}

// Precheck reports whether a signed request can be good, before its body is
// read: whether the signature is of this time, region and service, and its
// access key is one that may sign. It has API's errors and does not say who
// calls.
func (a *Authenticator) Precheck(r *http.Request, service string) error {
	s, err := parseSignature(r)
	if err != nil {
		return err
	}
	if err := a.check(r, s, service); err != nil {
		return err
	}
	_, err = a.secret(r.Context(), s, new(ecr.Caller))
	return err
}

func (s *signature) scope() string {
	return s.date + "/" + s.region + "/" + s.service + "/aws4_request"
}

func parseSignature(r *http.Request) (*signature, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		s, err := parseAuthorization(h)
		if err != nil {
			return nil, err
		}
		s.token = r.Header.Get("X-Amz-Security-Token")
		return s, s.setTime(r.Header.Get("X-Amz-Date"))
	}
	if strings.Contains(r.URL.RawQuery, "X-Amz-Signature=") {
		return parsePresigned(r.URL.RawQuery)
	}
	return nil, ecr.Errorf(ecr.NotAuthenticated, "Missing Authentication Token")
}

func parseAuthorization(h string) (*signature, error) {
	rest, ok := strings.CutPrefix(h, algorithm+" ")
	if !ok || len(h) > maxHeader {
		return nil, incomplete("The Authorization header must begin with '" + algorithm + "'.")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; !ok || twice {
			return nil, incomplete("The Authorization header is malformed.")
		}
		fields[name] = value
	}
	for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if fields[name] == "" {
			return nil, incomplete("Authorization header requires '" + name + "' parameter.")
		}
	}
	return newSignature(fields["Credential"], fields["SignedHeaders"], fields["Signature"])
}

func newSignature(credential, headers, sig string) (*signature, error) {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[4] != "aws4_request" {
		return nil, incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
	}
	s := &signature{accessKeyID: parts[0], date: parts[1], region: parts[2], service: parts[3], headers: strings.Split(headers, ";")}
	if !slices.IsSorted(s.headers) || len(s.headers) > 100 {
		return nil, incomplete("SignedHeaders must be in order.")
	}
	var err error
	if s.signature, err = hex.DecodeString(sig); err != nil || len(s.signature) != sha256.Size {
		return nil, errMismatch
	}
	return s, nil
}

func (s *signature) setTime(stamp string) (err error) {
	if s.time, err = time.Parse(timeLayout, stamp); err != nil {
		return incomplete("The request must have a valid X-Amz-Date: " + timeLayout + ".")
	}
	s.stamp = stamp
	if !strings.HasPrefix(stamp, s.date+"T") {
		return incomplete("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.")
	}
	return nil
}

func parsePresigned(query string) (*signature, error) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return nil, incomplete("The query is malformed.")
	}
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		if len(q[name]) != 1 || len(q[name][0]) > maxHeader {
			return nil, incomplete("A presigned request requires the parameter '" + name + "' once.")
		}
	}
	if q.Get("X-Amz-Algorithm") != algorithm {
		return nil, incomplete("X-Amz-Algorithm only supports '" + algorithm + "'.")
	}
	s, err := newSignature(q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Signature"))
	if err != nil {
		return nil, err
	}
	seconds, err := strconv.ParseInt(q.Get("X-Amz-Expires"), 10, 64)
	if err != nil || seconds < 1 || seconds > int64(maxExpires/time.Second) {
		return nil, incomplete("X-Amz-Expires must be 1 to 604800 seconds.")
	}
	s.token = q.Get("X-Amz-Security-Token")
	s.presigned, s.expires = true, time.Duration(seconds)*time.Second
	return s, s.setTime(q.Get("X-Amz-Date"))
}

// check checks all but the signature itself.
func (a *Authenticator) check(r *http.Request, s *signature, service string) error {
	now := a.opt.Now()
	limit := skew
	if s.presigned {
		limit = s.expires
	}
	switch {
	case s.time.After(now.Add(skew)):
		return ecr.Errorf(ecr.InvalidSignature, "Signature not yet current: %s is still later than %s (%s + 5 min.)",
			s.stamp, now.Add(skew).UTC().Format(timeLayout), now.UTC().Format(timeLayout))
	case s.time.Before(now.Add(-limit)):
		return ecr.Errorf(ecr.InvalidSignature, "Signature expired: %s is now earlier than %s (%s - %d min.)",
			s.stamp, now.Add(-limit).UTC().Format(timeLayout), now.UTC().Format(timeLayout), int(limit.Minutes()))
	case s.region != a.opt.Region && !(s.region == globalRegion && (service == "iam" || service == "sts")):
		return ecr.Errorf(ecr.InvalidSignature, "Credential should be scoped to a valid region, not '%.64s': this is %s.", s.region, a.opt.Region)
	case s.service != service:
		return ecr.Errorf(ecr.InvalidSignature, "Credential should be scoped to correct service: '%s'.", service)
	}
	required := []string{"host"}
	if !s.presigned {
		required = append(required, "x-amz-date")
	}
	for _, h := range []string{"X-Amz-Target", "X-Amz-Security-Token"} {
		if r.Header.Get(h) != "" {
			required = append(required, strings.ToLower(h))
		}
	}
	for _, h := range required {
		if _, ok := slices.BinarySearch(s.headers, h); !ok {
			return incomplete("'" + h + "' must be a 'SignedHeader' in the AWS Authorization.")
		}
	}
	return nil
}

// canonicalRequest builds the text that was signed.
func canonicalRequest(r *http.Request, s *signature, payloadHash string) (string, error) {
	raw, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(raw, "/") {
		raw = r.URL.EscapedPath() // an absolute-form request
	}
	var b strings.Builder
	b.WriteString(r.Method)
	b.WriteByte('\n')
	b.WriteString(canonicalPath(raw))
	b.WriteByte('\n')
	query, err := canonicalQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	b.WriteString(query)
	b.WriteByte('\n')
	for _, h := range s.headers {
		value, ok := headerValue(r, h)
		if !ok {
			return "", incomplete("The signed header '" + h + "' is not in the request.")
		}
		b.WriteString(h)
		b.WriteByte(':')
		b.WriteString(value)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(s.headers, ";"))
	b.WriteByte('\n')
	b.WriteString(payloadHash)
	return b.String(), nil
}

// canonicalPath cleans a path as it came and encodes it once more.
func canonicalPath(raw string) string {
	clean := path.Clean("/" + raw)
	if strings.HasSuffix(raw, "/") && clean != "/" {
		clean += "/"
	}
	return encode(clean, true)
}

func canonicalQuery(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	var pairs []string
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, nameErr := url.QueryUnescape(name)
		value, valueErr := url.QueryUnescape(value)
		if nameErr != nil || valueErr != nil || len(pairs) > 1000 {
			return "", incomplete("The query is malformed.")
		}
		if name == "X-Amz-Signature" {
			continue
		}
		pairs = append(pairs, encode(name, false)+"="+encode(value, false))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&"), nil
}

// encode percent-encodes all but the unreserved characters of RFC 3986, and
// slashes if they are kept.
func encode(s string, slashes bool) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~' || c == '/' && slashes {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
	}
	return b.String()
}

// headerValue returns the canonical value of a header. net/http keeps some of
// them outside of the header map.
func headerValue(r *http.Request, name string) (string, bool) {
	switch name {
	case "host":
		return r.Host, r.Host != ""
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10), r.ContentLength >= 0
	case "transfer-encoding":
		return strings.Join(r.TransferEncoding, ","), len(r.TransferEncoding) > 0
	}
	values := r.Header.Values(name)
	if len(values) == 0 {
		return "", false
	}
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(out, ","), true
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, text)
	return h.Sum(nil)
}

// signingKeys keeps derived keys, which are good for a day.
type signingKeys struct {
	mu sync.Mutex
	m  map[signingKey][]byte
}

// A signingKey names a derived key; a changed secret gives another one.
type signingKey struct{ secret, date, region, service string }

// maxSigningKeys bounds the keys kept.
const maxSigningKeys = 10_000

func (k *signingKeys) get(secret string, s *signature) []byte {
	id := signingKey{secret, s.date, s.region, s.service}
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.m[id]; ok {
		return key
	}
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.date, s.region, s.service, "aws4_request"} {
		key = mac(key, part)
	}
	if k.m == nil || len(k.m) >= maxSigningKeys {
		k.m = map[signingKey][]byte{}
	}
	k.m[id] = key
	return key
}
