-- +goose Up
create table images_in_use (
  account text collate "C" not null,
  repository text collate "C" not null,
  digest text collate "C" not null,
  source text collate "C" not null,
  reported_at bigint not null,
  expires_at bigint not null,
  primary key (account, repository, digest, source)
);
create index images_in_use_source on images_in_use (account, source);
create index images_in_use_expiry on images_in_use (account, expires_at);

-- +goose Down
drop table images_in_use;
