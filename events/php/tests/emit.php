<?php

declare(strict_types=1);

// `php tests/emit.php SINK RETRIES [TOKEN [PROXY]]` emits a sample's data from standard input and says as JSON what came of
// it; pauses are told, not taken.

require __DIR__ . '/../src/autoload.php';

use Errands\Client;
use Errands\Job;

[, $sink, $retries, $token, $proxy] = $argv + [3 => null, 4 => null];
$waits = [];
$told = [];
try {
    $client = new Client(
        source: 'https://shop.example/orders',
        sink: $sink,
        timeoutSeconds: 1,
        retries: (int) $retries,
        token: $token,
        sleep: function (float $seconds) use (&$waits): void {
            $waits[] = $seconds;
        },
        proxy: $proxy,
    );
    $told['id'] = $client->emit(Job::message(json_decode((string) stream_get_contents(STDIN), true)));
} catch (Throwable $error) {
    $told = ['exception' => get_class($error), 'message' => $error->getMessage()] + get_object_vars($error);
}
echo json_encode($told + ['waits' => $waits], JSON_THROW_ON_ERROR);
