// Package lifecycle is the language of ECR's lifecycle policies and their
// evaluation: pure functions on values, no context, no I/O; time is an
// argument. So the preview, the run, and the client that looks at an account
// of AWS decide with the same code.
//
// Parse reads a policy and Evaluate applies it to all images of a repository,
// as ECR's user guide says ("Automate the cleanup of images by using lifecycle
// policies", "Lifecycle policy properties", "Examples of lifecycle policies").
// Three things in it surprise:
//
//   - The entries of a list are AND-ed. ["prod-","release-"] selects the images
//     that have a tag of each, not those that have one of either.
//   - The first rule that selects an image owns it, and shields it from all
//     later rules, also where it keeps the image. Later rules still count it.
//   - What a manifest list refers to stays while the list does, whatever rule
//     marks it.
//
// # Decisions where ECR's documentation is silent
//
// Ages:
//
//   - "Older than N days" is more than N·24 hours. The guide's example of all
//     kinds of rules needs it: an image of exactly one day stays under a limit
//     of one day.
//   - Of two images of the same age, the one with the lower digest counts as
//     the older. (In the same example, D and E are of one age and D goes.)
//   - An image is ordered by when it came into its storage class: archived
//     ones by the transition, restored ones by the restoration, others by the
//     push.
//   - A pull counts from its own time even if the image was pushed again
//     later. A pull at the moment of the restoration is one after it.
//   - An image whose time is not known is never too old; it is the oldest
//     where images are counted. Limits of over a century are never reached.
//
// Tags:
//
//   - A pattern without * is the exact name of a tag. A * in a prefix is a *.
//
// Storage:
//
//   - An image that is being restored counts as one of the standard class.
//
// Manifest lists:
//
//   - Only a list that is not archived protects what it refers to: the guide
//     lets an image go once its list was "deleted or archived first".
//   - A list protects direct children; those of a list in a list are protected
//     by the inner one, which stays as long as the outer does.
//   - Children are selected and counted like any image. A list that goes frees
//     its children for the next run, not for its own. An image that is withheld
//     is not in what a preview lists, because the run would not take it.
//
// Referrers (images with a subject):
//
//   - While its subject is in the repository, a referrer is neither selected
//     nor counted by any rule, be it tagged or not: it does what its subject
//     does, in the same run, under the subject's rule. So a signature never
//     goes before its image, and "keep 10" keeps ten images however many
//     signatures there are. Referrers of referrers do the same in turn.
//   - A referrer of an image that is archived already, however it came to be,
//     is archived, whether there is a rule for it or not.
//   - One whose subject is not in the repository is an ordinary image.
//   - A list protects a referrer too. If the subject goes meanwhile, the
//     referrer is an ordinary image from then on.
//
// Validation:
//
//   - The first failure is told, where ECR's validator can list several.
//   - Lists of values in messages are JSON without spaces.
//   - Texts that were never seen are in the words of the same JSON schema
//     validator where it has them (length of lists, strings and numbers, types),
//     else in the manner of ECR's own: duplicate priorities, equal prefix
//     sets, lists with untagged or any, both lists, a fifth wildcard, classes
//     and actions that do not go with a count type, and archived images that
//     would expire before 90 days.
//   - Priorities and counts go up to 2³¹-1. A number with a fraction or an
//     exponent is no integer. An empty prefix or pattern is refused, and so is
//     a policy without rules.
//   - Only prefix sets must be unique in a class, as the guide says; equal
//     lists of patterns are accepted. The order in a list and repetitions make
//     no difference.
//   - Of the rules of a class, one for any image must come after all others,
//     so there is only one.
//
// # Again at the same moment
//
// Where the due outcomes of an evaluation are carried out and the same policy
// is evaluated again at the same moment, it acts on nothing but images that
// were withheld the first time, and referrers that follow these: owners depend
// on tags and class alone, and in counts an image only moves up when others
// go. There is one exception: a referrer that a list held while its subject
// went is an ordinary image now, and may count another one out. Each further
// evaluation acts on something or is the last.
package lifecycle
