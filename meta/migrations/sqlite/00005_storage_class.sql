-- +goose Up
alter table images add column archived_at integer not null default 0;
alter table images add column activated_at integer not null default 0;

-- +goose Down
alter table images drop column activated_at;
alter table images drop column archived_at;
