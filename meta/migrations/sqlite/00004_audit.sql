-- +goose Up
alter table events add column record text;
create index events_unsealed on events (id) where record is not null;

create table audit_records (
  seq integer primary key,
  at integer not null,
  account text not null,
  event_id text not null,
  source text not null,
  name text not null,
  username text not null,
  access_key text not null,
  resource_type text not null,
  resource text not null,
  read_only integer not null,
  record text not null,
  seal blob not null
) strict;
create index audit_records_at on audit_records (account, at, seq);
create index audit_records_id on audit_records (account, event_id);
create index audit_records_name on audit_records (account, name, at, seq);
create index audit_records_username on audit_records (account, username, at, seq);
create index audit_records_resource on audit_records (account, resource, at, seq);

create table audit_chain (
  id integer primary key,
  first integer not null,
  before blob not null,
  next integer not null,
  head blob not null,
  bytes integer not null,
  expired_at integer not null,
  seal blob not null
) strict;

-- +goose Down
drop table audit_chain;
drop table audit_records;
drop index events_unsealed;
alter table events drop column record;
