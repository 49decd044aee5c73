-- +goose Up
create table advisory_state (
  id bigint primary key,
  generation bigint not null
);
insert into advisory_state (id, generation) values (1, 0);

create table feeds (
  id bigint generated always as identity primary key,
  name text collate "C" not null unique,
  source text collate "C" not null,
  etag text collate "C" not null,
  high_water bigint not null,
  form bigint not null,
  records bigint not null,
  newest bigint not null,
  listed_at bigint not null,
  loaded_at bigint not null,
  checked_at bigint not null,
  failure text not null
);

create table advisories (
  id bigint generated always as identity primary key,
  name text collate "C" not null unique,
  modified bigint not null,
  withdrawn bigint not null,
  lent text not null,
  body bytea not null
);

create table feed_records (
  feed bigint not null references feeds (id),
  name text collate "C" not null,
  modified bigint not null,
  kept bigint not null,
  primary key (feed, name)
);
create index feed_records_name on feed_records (name);

create table affected (
  ecosystem text collate "C" not null,
  name text collate "C" not null,
  advisory bigint not null references advisories (id),
  part bytea not null,
  primary key (ecosystem, name, advisory)
);
create index affected_advisory on affected (advisory);

create table advisory_names (
  name text collate "C" not null,
  advisory bigint not null references advisories (id),
  primary key (name, advisory)
);
create index advisory_names_advisory on advisory_names (advisory);

create table kev (
  cve text collate "C" primary key,
  body text not null
);

create table epss (
  cve text collate "C" primary key,
  score double precision not null,
  percentile double precision not null
);

create table pvs (
  id bigint generated always as identity primary key,
  ecosystem text collate "C" not null,
  name text collate "C" not null,
  version text collate "C" not null,
  module text collate "C" not null,
  stale bigint not null,
  matched bigint not null,
  unique (ecosystem, name, version, module)
);
create index pvs_stale on pvs (ecosystem, name, id) where stale > matched;

create table pv_vulns (
  pv bigint not null references pvs (id),
  vulnerability text collate "C" not null,
  body text not null,
  primary key (pv, vulnerability)
);
create index pv_vulns_vulnerability on pv_vulns (vulnerability, pv);

create table pv_changes (
  pv bigint primary key references pvs (id),
  at bigint not null
);

-- +goose Down
drop table pv_changes;
drop table pv_vulns;
drop table pvs;
drop table epss;
drop table kev;
drop table advisory_names;
drop table affected;
drop table feed_records;
drop table advisories;
drop table feeds;
drop table advisory_state;
