-- What a webhook is to be told next; who is told next of them all is the webhooks' matter.
DROP INDEX deliveries_due;
DROP INDEX deliveries_of;
CREATE INDEX deliveries_of ON deliveries (webhook_id, due_ms);
