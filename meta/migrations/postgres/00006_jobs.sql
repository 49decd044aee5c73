-- +goose Up
create table jobs (
  id bigint generated always as identity primary key,
  queue text collate "C" not null,
  key text collate "C" not null,
  payload bytea not null,
  state text collate "C" not null,
  due bigint,
  again bigint not null default 0,
  lease text collate "C" not null default '',
  attempts bigint not null default 0,
  enqueued_at bigint not null,
  error text not null default '',
  unique (queue, key)
);
create index jobs_due on jobs (queue, due) where due is not null;
create index jobs_state on jobs (queue, state, id);

create table followers (
  name text collate "C" primary key,
  xid bigint not null,
  event bigint not null
);

-- Numbers of events are not in the order of commits; transactions that have
-- ended before all running ones began are.
alter table events add column xid bigint not null default 0;
alter table events alter column xid set default (pg_current_xact_id()::text::bigint);
create index events_xid on events (xid, id);

-- +goose Down
drop index events_xid;
alter table events drop column xid;
drop table followers;
drop table jobs;
