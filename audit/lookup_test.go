package audit

import (
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

// admin is the root user of the account, who may look up.
func admin() ecr.Caller { return ecr.Caller{Principal: identity.Root(account)} }
