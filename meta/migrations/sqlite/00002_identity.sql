-- +goose Up
create table users (
  id integer primary key autoincrement,
  account text not null,
  name text not null,
  unique_id text not null unique,
  created_at integer not null,
  unique (account, name)
) strict;

create table access_keys (
  id text primary key,
  account text not null,
  user_id integer references users (id),
  secret blob not null,
  active integer not null,
  created_at integer not null
) strict, without rowid;
create index access_keys_user on access_keys (user_id);
create index access_keys_account on access_keys (account);

create table user_policies (
  user_id integer not null references users (id),
  name text not null,
  document text not null,
  primary key (user_id, name)
) strict, without rowid;

create table user_attachments (
  user_id integer not null references users (id),
  policy_arn text not null,
  primary key (user_id, policy_arn)
) strict, without rowid;

-- +goose Down
drop table user_attachments;
drop table user_policies;
drop table access_keys;
drop table users;
