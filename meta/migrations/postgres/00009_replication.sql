-- +goose Up
create table replication_configurations (
  account text collate "C" primary key,
  document text collate "C" not null
);

create table replications (
  id bigint generated always as identity primary key,
  account text collate "C" not null,
  repository text collate "C" not null,
  digest text collate "C" not null,
  tag text collate "C" not null,
  region text collate "C" not null,
  registry text collate "C" not null,
  status text collate "C" not null,
  code text collate "C" not null,
  reason text collate "C" not null,
  queued_at bigint not null,
  ended_at bigint not null,
  unique (account, repository, digest, tag, region, registry)
);
create index replications_work on replications (account, repository, tag, region, registry) where status = 'IN_PROGRESS';
create index replications_pending on replications (region, registry, queued_at) where status = 'IN_PROGRESS';
create index replications_failed on replications (region, registry, id) where status = 'FAILED';

create table replication_uploads (
  region text collate "C" not null,
  registry text collate "C" not null,
  repository text collate "C" not null,
  digest text collate "C" not null,
  location text collate "C" not null,
  begun_at bigint not null,
  primary key (region, registry, repository, digest)
);

create table backfills (
  id text collate "C" primary key,
  account text collate "C" not null,
  region text collate "C" not null,
  registry text collate "C" not null,
  status text collate "C" not null,
  code text collate "C" not null,
  started_at bigint not null,
  ended_at bigint not null,
  prepared bigint not null,
  after_repository text collate "C" not null,
  after_image bigint not null,
  total bigint not null,
  completed bigint not null,
  failed bigint not null
);
create index backfills_account on backfills (account, started_at, id);

create table backfill_items (
  id bigint generated always as identity primary key,
  backfill text collate "C" not null references backfills (id),
  repository text collate "C" not null,
  digest text collate "C" not null,
  tag text collate "C" not null,
  status text collate "C" not null,
  code text collate "C" not null,
  sub_codes text collate "C" not null
);
create index backfill_items_status on backfill_items (backfill, status, id);
create index backfill_items_order on backfill_items (backfill, id);

-- +goose Down
drop table backfill_items;
drop table backfills;
drop table replication_uploads;
drop table replications;
drop table replication_configurations;
