package bus

import "github.com/segmentio/kafka-go"

// Kafka returns kafka-go's client on the same connections, for the requests
// that this package has nothing to add to.
func (c *Client) Kafka() *kafka.Client { return c.kafka }
