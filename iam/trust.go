package iam

// EvaluateTrust decides whether a principal may assume a role: r.Resource is
// the role and r.ResourcePolicy its trust policy, which must allow in any case
// (IAM user guide, "Granting a user permissions to switch roles"). A principal
// that it names needs nothing else in the role's own account; one of which it
// names the account, or of another account, needs an identity policy too. A
// federated principal needs the trust policy alone.
func EvaluateTrust(r *Request) Decision {
	d := Decision{action: r.Action}
	trust := r.askOne(r.ResourcePolicy)
	switch {
	case trust.deny != nil:
		return d.decide(false, ByResource, trust.deny)
	case trust.allow == nil && trust.account == nil:
		return d.decide(false, ByResource, nil)
	case r.Principal.Federated != "":
		return d.decide(true, ByResource, trust.allow)
	}
	return Evaluate(r)
}
