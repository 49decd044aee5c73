-- +goose Up
alter table events add column record text;
create index events_unsealed on events (id) where record is not null;

create table audit_records (
  seq bigint primary key,
  at bigint not null,
  account text collate "C" not null,
  event_id text collate "C" not null,
  source text collate "C" not null,
  name text collate "C" not null,
  username text collate "C" not null,
  access_key text collate "C" not null,
  resource_type text collate "C" not null,
  resource text collate "C" not null,
  read_only bigint not null,
  record text not null,
  seal bytea not null
);
create index audit_records_at on audit_records (account, at, seq);
create index audit_records_id on audit_records (account, event_id);
create index audit_records_name on audit_records (account, name, at, seq);
create index audit_records_username on audit_records (account, username, at, seq);
create index audit_records_resource on audit_records (account, resource, at, seq);

create table audit_chain (
  id bigint primary key,
  first bigint not null,
  before bytea not null,
  next bigint not null,
  head bytea not null,
  bytes bigint not null,
  expired_at bigint not null,
  seal bytea not null
);

-- +goose Down
drop table audit_chain;
drop table audit_records;
drop index events_unsealed;
alter table events drop column record;
