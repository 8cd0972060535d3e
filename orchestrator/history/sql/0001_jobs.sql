-- Jobs of roles: the columns are the names of a job's record in snake_case.
CREATE TABLE jobs (
    job_id       text PRIMARY KEY,
    role         text NOT NULL,
    entry_id     text NOT NULL,
    status       text NOT NULL,
    output       jsonb,
    error        text,
    error_code   text,
    usage        jsonb,
    task         text,
    workflow_id  text,
    user_id      text,
    project_id   text,
    worker_id    text,
    attempt      integer NOT NULL,
    created_at   timestamptz NOT NULL,
    started_at   timestamptz,
    completed_at timestamptz,
    fields       jsonb NOT NULL
);
CREATE INDEX jobs_completed_at ON jobs (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX jobs_workflow_id ON jobs (workflow_id);
