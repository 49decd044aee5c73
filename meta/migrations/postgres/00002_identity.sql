-- +goose Up
create table users (
  id bigint generated always as identity primary key,
  account text collate "C" not null,
  name text collate "C" not null,
  unique_id text collate "C" not null unique,
  created_at bigint not null,
  unique (account, name)
);

create table access_keys (
  id text collate "C" primary key,
  account text collate "C" not null,
  user_id bigint references users (id),
  secret bytea not null,
  active bigint not null,
  created_at bigint not null
);
create index access_keys_user on access_keys (user_id);
create index access_keys_account on access_keys (account);

create table user_policies (
  user_id bigint not null references users (id),
  name text collate "C" not null,
  document text collate "C" not null,
  primary key (user_id, name)
);

create table user_attachments (
  user_id bigint not null references users (id),
  policy_arn text collate "C" not null,
  primary key (user_id, policy_arn)
);

-- +goose Down
drop table user_attachments;
drop table user_policies;
drop table access_keys;
drop table users;
