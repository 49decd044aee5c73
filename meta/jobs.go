package meta

import (
	"time"
)

// A JobState says where a job stands.
type JobState string

const (
	JobWaiting JobState = "waiting"
	JobRunning JobState = "running"
	JobFailed  JobState = "failed" // for good, until it is enqueued again
)

// A Job is a piece of background work. There is at most one job of a queue and
// key.
type Job struct {
	ID         int64
	Queue      string
	Key        string
	Payload    []byte
	State      JobState
	Due        time.Time // when it may run next, or, of one that runs, when its lease ends; zero if it failed
	Attempts   int       // begun so far, this one included
	EnqueuedAt time.Time // first, since it was last done
	Error      string    // of the last attempt

	lease string
}

const jobColumns = `id, queue, key, payload, state, coalesce(due, 0), attempts, enqueued_at, error, lease`

func scanJob(rs rows) (j Job, err error) {
	var due, enqueued int64
	err = rs.Scan(&j.ID, &j.Queue, &j.Key, &j.Payload, (*string)(&j.State), &due, &j.Attempts, &enqueued, &j.Error, &j.lease)
	j.Due, j.EnqueuedAt = at(due), at(enqueued)
	return j, err
}

func (tx *Tx) jobs(sql string, args ...any) (jobs []Job, err error) {
	err = tx.each(func(rs rows) error {
		j, err := scanJob(rs)
		jobs = append(jobs, j)
		return err
	}, sql, args...)
	return jobs, err
}

// Enqueue has a job run at due or later. If there is one of the same queue and
// key already it takes the payload over: one that waits runs at the earlier of
// the two times, one that runs is run once more afterwards, one that failed
// starts anew.
func (tx *Tx) Enqueue(queue, key string, payload []byte, now, due time.Time) error {
	tx.changed = true
	if payload == nil {
		payload = []byte{}
	}
	_, err := tx.exec(`insert into jobs (queue, key, payload, state, due, enqueued_at) values ($1, $2, $3, 'waiting', $4, $5)
		on conflict (queue, key) do update set
			payload = excluded.payload,
			again = case when jobs.state = 'running' then 1 else 0 end,
			attempts = case when jobs.state = 'failed' then 0 else jobs.attempts end,
			enqueued_at = case when jobs.state = 'failed' then excluded.enqueued_at else jobs.enqueued_at end,
			due = case when jobs.state = 'running' or jobs.state = 'waiting' and jobs.due < excluded.due then jobs.due else excluded.due end,
			state = case when jobs.state = 'running' then 'running' else 'waiting' end`,
		queue, key, payload, ms(due), ms(now))
	return err
}

// ClaimJobs takes jobs that are due, limit at most, the longest due first, for
// whoever holds lease, until a time: a job whose lease has ended is due again.
func (tx *Tx) ClaimJobs(queue, lease string, now, until time.Time, limit int) ([]Job, error) {
	return tx.jobs(`update jobs set state = 'running', due = $3, lease = $4, attempts = attempts + 1
		where id in (select id from jobs where queue = $1 and due <= $2 order by due, id limit $5 /*pg: for update skip locked */)
		returning `+jobColumns, queue, ms(now), ms(until), lease, limit)
}

// RenewJob extends the lease of a job that runs; false if it is lost.
func (tx *Tx) RenewJob(j Job, until time.Time) (bool, error) {
	n, err := tx.exec(`update jobs set due = $3 where id = $1 and lease = $2 and state = 'running'`, j.ID, j.lease, ms(until))
	return n > 0, err
}

// FinishJob ends a job that runs: it is gone, or waits once more if it was
// enqueued meanwhile. A lease that is lost changes nothing.
func (tx *Tx) FinishJob(j Job, now time.Time) error {
	n, err := tx.exec(`delete from jobs where id = $1 and lease = $2 and state = 'running' and again = 0`, j.ID, j.lease)
	if err != nil || n > 0 {
		return err
	}
	tx.changed = true
	_, err = tx.exec(`update jobs set state = 'waiting', again = 0, attempts = 0, error = '', lease = '', due = $3, enqueued_at = $3
		where id = $1 and lease = $2 and state = 'running'`, j.ID, j.lease, ms(now))
	return err
}

// RetryJob has a job that runs wait until due, for the reason given.
func (tx *Tx) RetryJob(j Job, due time.Time, reason string) error {
	tx.changed = true
	_, err := tx.exec(`update jobs set state = 'waiting', again = 0, lease = '', due = $3, error = $4 where id = $1 and lease = $2 and state = 'running'`,
		j.ID, j.lease, ms(due), reason)
	return err
}

// FailJob ends a job that runs for good; it waits again at once if it was
// enqueued meanwhile.
func (tx *Tx) FailJob(j Job, now time.Time, reason string) error {
	tx.changed = true
	_, err := tx.exec(`update jobs set lease = '', error = $4,
			state = case when again = 1 then 'waiting' else 'failed' end, due = case when again = 1 then cast($3 as bigint) else null end,
			attempts = case when again = 1 then 0 else attempts end, again = 0
		where id = $1 and lease = $2 and state = 'running'`, j.ID, j.lease, ms(now), reason)
	return err
}

// ReleaseJobs makes all jobs of a queue that run due: for the only process
// there is, at its start.
func (tx *Tx) ReleaseJobs(queue string, now time.Time) error {
	_, err := tx.exec(`update jobs set state = 'waiting', again = 0, lease = '', due = $2 where queue = $1 and state = 'running'`, queue, ms(now))
	return err
}

// CancelJob removes a job, whatever its state; one that runs is not stopped.
func (tx *Tx) CancelJob(queue, key string) error {
	_, err := tx.exec(`delete from jobs where queue = $1 and key = $2`, queue, key)
	return err
}

// JobOf returns the job of a queue and key, or ErrNotFound.
func (tx *Tx) JobOf(queue, key string) (Job, error) {
	jobs, err := tx.jobs(`select `+jobColumns+` from jobs where queue = $1 and key = $2`, queue, key)
	if err == nil && len(jobs) == 0 {
		return Job{}, ErrNotFound
	}
	if err != nil {
		return Job{}, err
	}
	return jobs[0], nil
}

// JobsIn returns the jobs of a queue in a state that follow after, in the order
// of their IDs, limit at most.
func (tx *Tx) JobsIn(queue string, state JobState, after int64, limit int) ([]Job, error) {
	return tx.jobs(`select `+jobColumns+` from jobs where queue = $1 and state = $2 and id > $3 order by id limit $4`, queue, string(state), after, limit)
}

// A Backlog counts the jobs of a queue.
type Backlog struct {
	Waiting, Running, Failed int64
	Oldest                   time.Time // when the oldest that waits or runs was enqueued; zero if none does
}

// Backlog counts a queue.
func (tx *Tx) Backlog(queue string) (b Backlog, err error) {
	var oldest int64
	err = tx.row([]any{&b.Waiting, &b.Running, &b.Failed, &oldest}, `select
		count(*) filter (where state = 'waiting'), count(*) filter (where state = 'running'), count(*) filter (where state = 'failed'),
		coalesce(min(enqueued_at) filter (where state <> 'failed'), 0) from jobs where queue = $1`, queue)
	b.Oldest = at(oldest)
	return b, err
}

// NextJob returns when the next job of a queue is due; zero if none waits.
func (tx *Tx) NextJob(queue string) (time.Time, error) {
	var due int64
	err := tx.row([]any{&due}, `select coalesce(min(due), 0) from jobs where queue = $1 and due is not null`, queue)
	return at(due), err
}
