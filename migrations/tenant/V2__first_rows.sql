-- The same people and books for every tenant, with ids of their own that are the same on every run:
-- whoever sees an id can tell whose row it is.
INSERT INTO authors (id, first_name, last_name)
SELECT md5(current_schema() || '/authors/' || first_name || ' ' || last_name)::uuid, first_name, last_name
FROM (VALUES
    ('Ernest',     'Hemingway'),
    ('Kurt',       'Vonnegut'),
    ('Anne',       'Rice'),
    ('J. R. R.',   'Tolkien'),
    ('George',     'Orwell'),
    ('Harper',     'Lee'),
    ('Gabriel',    'García Márquez')
) AS author (first_name, last_name);

INSERT INTO books (id, title, author_id, publish_date)
SELECT md5(current_schema() || '/books/' || book.title)::uuid, book.title, authors.id, book.publish_date
FROM (VALUES
    ('Rice',           'Interview with the Vampire',    DATE '1976-05-05'),
    ('Rice',           'The Vampire Lestat',            DATE '1985-10-31'),
    ('Rice',           'The Queen of the Damned',       DATE '1988-09-12'),
    ('Tolkien',        'The Hobbit',                    DATE '1937-09-21'),
    ('Tolkien',        'The Fellowship of the Ring',    DATE '1954-07-29'),
    ('Orwell',         'Nineteen Eighty-Four',          DATE '1949-06-08'),
    ('Lee',            'To Kill a Mockingbird',         DATE '1960-07-11'),
    ('García Márquez', 'One Hundred Years of Solitude', DATE '1967-05-30')
) AS book (author, title, publish_date)
JOIN authors ON authors.last_name = book.author;
