-- +goose Up
create table replication_configurations (
  account text primary key,
  document text not null
) strict, without rowid;

create table replications (
  id integer primary key autoincrement,
  account text not null,
  repository text not null,
  digest text not null,
  tag text not null,
  region text not null,
  registry text not null,
  status text not null,
  code text not null,
  reason text not null,
  queued_at integer not null,
  ended_at integer not null,
  unique (account, repository, digest, tag, region, registry)
) strict;
create index replications_work on replications (account, repository, tag, region, registry) where status = 'IN_PROGRESS';
create index replications_pending on replications (region, registry, queued_at) where status = 'IN_PROGRESS';
create index replications_failed on replications (region, registry, id) where status = 'FAILED';

create table replication_uploads (
  region text not null,
  registry text not null,
  repository text not null,
  digest text not null,
  location text not null,
  begun_at integer not null,
  primary key (region, registry, repository, digest)
) strict, without rowid;

create table backfills (
  id text primary key,
  account text not null,
  region text not null,
  registry text not null,
  status text not null,
  code text not null,
  started_at integer not null,
  ended_at integer not null,
  prepared integer not null,
  after_repository text not null,
  after_image integer not null,
  total integer not null,
  completed integer not null,
  failed integer not null
) strict, without rowid;
create index backfills_account on backfills (account, started_at, id);

create table backfill_items (
  id integer primary key autoincrement,
  backfill text not null references backfills (id),
  repository text not null,
  digest text not null,
  tag text not null,
  status text not null,
  code text not null,
  sub_codes text not null
) strict;
create index backfill_items_status on backfill_items (backfill, status, id);
create index backfill_items_order on backfill_items (backfill, id);

-- +goose Down
drop table backfill_items;
drop table backfills;
drop table replication_uploads;
drop table replications;
drop table replication_configurations;
