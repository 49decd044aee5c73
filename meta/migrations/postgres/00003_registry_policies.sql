-- +goose Up
create table registry_policies (
  account text collate "C" primary key,
  document text not null
);

-- +goose Down
drop table registry_policies;
