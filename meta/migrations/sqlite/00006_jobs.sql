-- +goose Up
create table jobs (
  id integer primary key autoincrement,
  queue text not null,
  key text not null,
  payload blob not null,
  state text not null,
  due integer,
  again integer not null default 0,
  lease text not null default '',
  attempts integer not null default 0,
  enqueued_at integer not null,
  error text not null default '',
  unique (queue, key)
) strict;
create index jobs_due on jobs (queue, due) where due is not null;
create index jobs_state on jobs (queue, state, id);

create table followers (
  name text primary key,
  xid integer not null,
  event integer not null
) strict, without rowid;

-- +goose Down
drop table followers;
drop table jobs;
