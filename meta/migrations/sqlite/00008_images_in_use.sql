-- +goose Up
create table images_in_use (
  account text not null,
  repository text not null,
  digest text not null,
  source text not null,
  reported_at integer not null,
  expires_at integer not null,
  primary key (account, repository, digest, source)
) strict, without rowid;
create index images_in_use_source on images_in_use (account, source);
create index images_in_use_expiry on images_in_use (account, expires_at);

-- +goose Down
drop table images_in_use;
