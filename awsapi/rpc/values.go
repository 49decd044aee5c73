package rpc

// Str is a member's value, or "" if it is absent.
func Str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// Opt is a member that is left out when it is empty.
func Opt(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Each turns a list into another, never nil: an empty list is sent as one.
func Each[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i := range list {
		out[i] = f(list[i])
	}
	return out
}
