package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/lifecycle"
	"github.com/ecruhq/ecru/price"
)

// simulatePermissions are what simulate calls; without those for the trail and
// the exclusions it does with less.
var simulatePermissions = []string{"cloudtrail:LookupEvents", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetLifecyclePolicy", "ecr:ListPullTimeUpdateExclusions"}

// A simulateRun is one simulate command.
type simulateRun struct {
	f        *endpointFlags
	policy   string
	prices   string
	read     bool
	limit    int
	rateDays float64
}

// A simulation is what a policy would do, as JSON.
type simulation struct {
	Repository string          `json:"repository"`
	At         time.Time       `json:"at"`
	Images     lifecycle.Tally `json:"images"`
	Expire     lifecycle.Tally `json:"expire"`
	Archive    lifecycle.Tally `json:"archive"`
	Withheld   lifecycle.Tally `json:"withheld"`
	// Layers are the bytes that layers take, each counted once, and Freed those
	// that would go; null if manifests were not read.
	Layers *int64 `json:"layerBytes"`
	Freed  *int64 `json:"freedBytes"`
	Unread int    `json:"unreadManifests"`
	// Saves is what the freed bytes cost in a month.
	Saves    *float64         `json:"savesPerMonth"`
	Currency string           `json:"currency"`
	Prices   string           `json:"prices"` // source and date
	Rules    []simulatedRule  `json:"rules"`
	Acts     []simulatedImage `json:"actions"` // the oldest first
	Rates    []lifecycle.Rate `json:"pushRates"`
	Ahead    []ahead          `json:"ahead"`
	Notes    []string         `json:"notes"`

	book *price.Book
}

type simulatedRule struct {
	Priority    int             `json:"rulePriority"`
	Description string          `json:"description,omitempty"`
	Selects     int             `json:"selects"`
	Owns        lifecycle.Tally `json:"owns"`
	Acts        lifecycle.Tally `json:"acts"`
	Withheld    lifecycle.Tally `json:"withheld"`
}

type simulatedImage struct {
	Action   string    `json:"action"` // EXPIRE or TRANSITION; "" if it is withheld
	Digest   string    `json:"imageDigest"`
	Tags     []string  `json:"imageTags"`
	PushedAt time.Time `json:"imagePushedAt"`
	Bytes    int64     `json:"imageSizeInBytes"`
	Reason   string    `json:"reason"`
}

// ahead is the repository some days ahead, with the policy and without one.
type ahead struct {
	Days    int               `json:"days"`
	With    lifecycle.Outlook `json:"with"`
	Without lifecycle.Outlook `json:"without"`
}

func newSimulate(f *endpointFlags) *cobra.Command {
	s := &simulateRun{f: f}
	cmd := &cobra.Command{
		Use:   "simulate REPOSITORY",
		Short: "What would a policy delete, why, and what does it free?",
		Long: "What would a policy, the stored one or that of a file, do with the images of a repository at this moment, and\n" +
			"why? What does it free: by the sizes of images, and by the layers that nothing else in the repository has? And\n" +
			"what is there in 30 and 90 days, if images are pushed as they were of late?\n\n" +
			"Nothing is changed. Reading manifests counts as pulls: where a rule looks at the time of the last pull, it is\n" +
			"not done unless the caller has a pull time update exclusion, or with --read-manifests.",
		Example: "  ecru lifecycle simulate my-app\n  ecru lifecycle simulate my-app --policy policy.json --json",
		Args:    oneRepository(f),
	}
	policyFlag(cmd, &s.policy)
	priceFlag(cmd, &s.prices)
	cmd.Flags().BoolVar(&s.read, "read-manifests", false, "read manifests even if it moves the time of the last pull")
	cmd.Flags().IntVar(&s.limit, "limit", 50, "how many images are listed for people; 0 means all")
	cmd.Flags().Float64Var(&s.rateDays, "rate-days", 30, "how many days back pushes are counted for the outlook")
	cmd.RunE = f.with(simulatePermissions, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		if err := checkDays("rate-days", s.rateDays); err != nil {
			return err
		}
		out, err := s.run(cmd, e, args[0])
		if err != nil {
			return err
		}
		if f.json {
			return printJSON(cmd.OutOrStdout(), out)
		}
		out.print(cmd.OutOrStdout(), s.limit)
		return nil
	})
	return cmd
}

func (s *simulateRun) run(cmd *cobra.Command, e *advisor.Endpoint, repo string) (*simulation, error) {
	book, err := priceBook(s.prices)
	if err != nil {
		return nil, err
	}
	p, err := policyOf(cmd, e, s.policy, repo)
	if err != nil {
		return nil, err
	}
	c, why, err := readContents(cmd, e, p, repo, true, s.read)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	out := simulate(p, c, now, book)
	out.note(why)
	if c.Layers != nil && c.Unread > 0 {
		out.note(fmt.Sprintf("%d manifests could not be read, such as those of archived images: what they share is not known.", c.Unread))
	}
	from := now.Add(-time.Duration(s.rateDays * float64(24*time.Hour)))
	pr := newTeller(cmd)
	defer pr.end()
	h, _, err := e.History(cmd.Context(), c, from, false, pr.of("records"))
	var pushes []lifecycle.Push
	switch {
	case cmd.Context().Err() != nil:
		return nil, cmd.Context().Err()
	case err != nil:
		out.note("the audit trail cannot be read, so the outlook does not know of images that were pushed and are gone: " + err.Error())
	default:
		pushes = h.Pushes
	}
	out.Rates = lifecycle.Rates(c.Images, pushes, from, now)
	with, without := lifecycle.Ahead(p, c.Images, out.Rates, now, 30, 90), lifecycle.Ahead(nil, c.Images, out.Rates, now, 30, 90)
	for i := range with {
		out.Ahead = append(out.Ahead, ahead{with[i].Days, with[i], without[i]})
	}
	return out, nil
}

// simulate evaluates a policy, and sums up.
func simulate(p *lifecycle.Policy, c *advisor.Contents, now time.Time, book *price.Book) *simulation {
	e := lifecycle.Evaluate(p, c.Images, now)
	out := &simulation{Repository: c.Name, At: now.UTC(), Images: e.Summary.Images, Expire: e.Summary.Expire, Archive: e.Summary.Transition, Withheld: e.Summary.Withheld,
		Unread: c.Unread, Currency: book.Currency, Prices: book.Source + ", " + book.Date, Acts: []simulatedImage{}, Notes: []string{}, book: book}
	for i, t := range e.Summary.Rules {
		out.Rules = append(out.Rules, simulatedRule{e.Rules[i].Priority, e.Rules[i].Description, t.Selected, t.Owned, t.Due, t.Withheld})
	}
	act := func(i int, action string) {
		m := &e.Images[i]
		tags := m.Tags
		if tags == nil {
			tags = []string{}
		}
		out.Acts = append(out.Acts, simulatedImage{action, m.Digest, tags, m.PushedAt.Time(), m.Size, e.Reason(i).String()})
	}
	for i, o := range e.Due() {
		act(i, o.String())
	}
	for i := range e.Verdicts {
		if v := &e.Verdicts[i]; v.HeldBy >= 0 {
			act(i, "")
		}
	}
	if c.Layers != nil {
		layers, freed := lifecycle.Unique(c.Layers), lifecycle.Freed(e, c.Layers)
		saves := book.StorageMonth(layers) - book.StorageMonth(layers-freed)
		out.Layers, out.Freed, out.Saves = &layers, &freed, &saves
	}
	return out
}

func (s *simulation) note(text string) {
	if text != "" {
		s.Notes = append(s.Notes, text)
	}
}

func (s *simulation) print(w io.Writer, limit int) {
	fmt.Fprintf(w, "%s: %d images, %s by their sizes", s.Repository, s.Images.Images, size(s.Images.Bytes))
	if s.Layers != nil {
		fmt.Fprintf(w, ", %s of layers", size(*s.Layers))
	}
	fmt.Fprint(w, "\n\n")
	t := newGrid(w, "rule", "selects", "owns", "acts on", "size", "withheld", "description")
	for _, r := range s.Rules {
		t.row(r.Priority, r.Selects, r.Owns.Images, r.Acts.Images, size(r.Acts.Bytes), r.Withheld.Images, r.Description)
	}
	t.flush()
	fmt.Fprintln(w)
	s.printActs(w, limit)
	fmt.Fprintf(w, "Would expire %d of %d images, %s by their sizes.\n", s.Expire.Images, s.Images.Images, size(s.Expire.Bytes))
	if s.Archive.Images > 0 {
		fmt.Fprintf(w, "Would archive %d images, %s: they cannot be pulled then.\n", s.Archive.Images, size(s.Archive.Bytes))
	}
	if s.Withheld.Images > 0 {
		fmt.Fprintf(w, "Withheld are %d images that manifest lists refer to.\n", s.Withheld.Images)
	}
	if s.Freed != nil {
		fmt.Fprintf(w, "Frees %s of layers that nothing else in this repository has: %s a month (%s).\n"+
			"Where the registry shares layers between repositories, what others have too stays.\n", size(*s.Freed), s.book.Money(*s.Saves), s.Prices)
	}
	s.printAhead(w)
	for _, n := range s.Notes {
		fmt.Fprintln(w, "\nnote: "+n)
	}
}

func (s *simulation) printActs(w io.Writer, limit int) {
	if len(s.Acts) == 0 {
		return
	}
	t := newGrid(w, "action", "image", "tags", "pushed", "size", "why")
	for i, a := range s.Acts {
		if limit > 0 && i == limit {
			break
		}
		action := strings.ToLower(a.Action)
		switch a.Action {
		case "":
			action = "withheld"
		case lifecycle.Transition.String():
			action = "archive"
		}
		t.row(action, short(a.Digest), tagList(a.Tags), date(lifecycle.At(a.PushedAt)), size(a.Bytes), a.Reason)
	}
	t.flush()
	if n := len(s.Acts) - limit; limit > 0 && n > 0 {
		fmt.Fprintf(w, "… and %d more; --limit 0 lists all\n", n)
	}
	fmt.Fprintln(w)
}

func (s *simulation) printAhead(w io.Writer) {
	fmt.Fprint(w, "\nAhead, if pushes go on")
	if len(s.Rates) == 0 {
		fmt.Fprint(w, " (there were none)")
	}
	for i, r := range s.Rates {
		const most = 6
		if i == most {
			fmt.Fprintf(w, " and %d more kinds", len(s.Rates)-most)
			break
		}
		name := strings.Join(r.Kinds, "+")
		if name == "" {
			name = "other"
		}
		fmt.Fprintf(w, " %s %.1f/d", name, r.PerDay)
	}
	fmt.Fprint(w, ":\n")
	t := newGrid(w, "in days", "pushed", "images", "by size", "at most a month", "without the policy", "by size", "at most a month")
	for _, a := range s.Ahead {
		x, y := a.With.Images, a.Without.Images
		t.row(a.Days, a.With.Pushed, x.Images, size(x.Bytes), s.book.Money(s.book.StorageMonth(x.Bytes)), y.Images, size(y.Bytes), s.book.Money(s.book.StorageMonth(y.Bytes)))
	}
	t.flush()
}
