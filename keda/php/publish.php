<?php

/**
 * Publishes readings to the work queue over AMQP: one CloudEvent a message, confirmed by the server.
 *
 *     AMQP_URL=amqp://user:password@rabbitmq/ php publish.php 1000
 *
 * php-amqplib is Debian's package, or composer require php-amqplib/php-amqplib. What is not confirmed has to be published
 * again: the same source and id are the same reading, so that does no harm.
 */

declare(strict_types=1);

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

require is_file(__DIR__ . '/vendor/autoload.php') ? __DIR__ . '/vendor/autoload.php' : 'PhpAmqpLib/autoload.php';

const EXCHANGE = 'work';
const CONFIRM_TIMEOUT_S = 10;
const AT_ONCE = 500; // unconfirmed messages

/** @param array<string, mixed> $data */
function event(string $type, string $source, string $id, array $data): AMQPMessage
{
    $attributes = [
        'specversion' => '1.0',
        'type' => $type,
        'source' => $source,
        'id' => $id,
        'time' => gmdate('Y-m-d\TH:i:s\Z'),
    ];

    return new AMQPMessage(json_encode($data, JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION), [
        'content_type' => 'application/json',
        'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
        'message_id' => $id,
        'application_headers' => new AMQPTable($attributes),
    ]);
}

/** @param iterable<AMQPMessage> $messages each with its event's type in the headers, which is the routing key */
function publish(AMQPStreamConnection $connection, iterable $messages): int
{
    $channel = $connection->channel();
    $channel->confirm_select();
    $channel->set_nack_handler(fn () => throw new RuntimeException('the work queue is full: publish again later'));
    // a message that no queue takes comes back, where without the flag `mandatory` it would be gone
    $channel->set_return_listener(
        fn ($code, $text, $exchange, $key) => throw new RuntimeException("no work queue takes $key ($text)"),
    );
    $count = 0;
    foreach ($messages as $message) {
        $type = $message->get('application_headers')->getNativeData()['type'];
        $channel->basic_publish($message, EXCHANGE, $type, mandatory: true);
        if (++$count % AT_ONCE === 0) {
            $channel->wait_for_pending_acks_returns(CONFIRM_TIMEOUT_S);
        }
    }
    $channel->wait_for_pending_acks_returns(CONFIRM_TIMEOUT_S);
    $channel->close();

    return $count;
}

$url = parse_url(getenv('AMQP_URL') ?: 'amqp://guest:guest@localhost');
$connection = new AMQPStreamConnection(
    $url['host'],
    $url['port'] ?? 5672,
    rawurldecode($url['user'] ?? 'guest'),
    rawurldecode($url['pass'] ?? 'guest'),
    rawurldecode(substr($url['path'] ?? '', 1)) ?: '/',
);
$readings = (function (int $count): Generator {
    for ($number = 1; $number <= $count; $number++) {
        $value = ['sensor' => 's' . $number % 10, 'metric' => 'temperature', 'value' => 20 + $number / 7, 'unit' => 'C'];
        yield event('dev.errands.telemetry.requested.v1', '/plants/1', sprintf('php-%06d', $number), $value);
    }
})((int) ($argv[1] ?? 1));
echo publish($connection, $readings), " readings are in the work queue\n";
$connection->close();
