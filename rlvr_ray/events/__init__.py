"""Events for other programs: their bodies and schema, and RabbitMQ."""
