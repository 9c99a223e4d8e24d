-- A trial write: after a disk was full a server writes here before it says that it is ready again.
CREATE TABLE probe (
  filler TEXT NOT NULL
);
