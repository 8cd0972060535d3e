-- An ordinary index has no room for values of more than some 2700 bytes: such a job could not be written.
DROP INDEX jobs_workflow_id;
CREATE INDEX jobs_workflow_id ON jobs USING hash (workflow_id);
