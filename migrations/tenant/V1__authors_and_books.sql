-- Unqualified on purpose: the runner sets search_path to one tenant's schema.
CREATE TABLE authors (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    first_name text NOT NULL,
    last_name  text NOT NULL,
    UNIQUE (first_name, last_name)
);

CREATE TABLE books (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    title        text NOT NULL,
    author_id    uuid NOT NULL REFERENCES authors (id),
    publish_date date NOT NULL,
    UNIQUE (author_id, title)
);
