-- +goose Up
create table registry_policies (
  account text primary key,
  document text not null
) strict, without rowid;

-- +goose Down
drop table registry_policies;
