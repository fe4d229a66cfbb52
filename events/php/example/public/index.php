<?php

declare(strict_types=1);

// php -S 127.0.0.1:8000 -t events/php/example/public events/php/example/public/index.php

namespace Errands\Example;

use Errands\Client;

$path = strtok($_SERVER['REQUEST_URI'], '?') ?: '/';
if (PHP_SAPI === 'cli-server' && in_array($path, ['/style.css', '/live.js', '/icon.svg'], true)) {
    return false;
}

require __DIR__ . '/../../src/autoload.php';
foreach (['Settings', 'Jobs', 'Forms', 'Response', 'Page', 'Shop'] as $class) {
    require __DIR__ . "/../src/$class.php";
}

ini_set('display_errors', '0');
ini_set('log_errors', '1');
try {
    $settings = Settings::fromEnvironment();
    // A page waits for this: give up early, the job can be ordered again.
    $client = new Client(
        $settings->source,
        $settings->sink,
        timeoutSeconds: 3,
        retries: 2,
        token: $settings->token,
        maxWaitSeconds: 2,
    );
    $shop = new Shop($settings, new Jobs($settings->dataFolder, $settings->source), $client);
    $response = $shop->answer($_SERVER['REQUEST_METHOD'], $path);
} catch (\Throwable $bug) {
    error_log((string) $bug);
    $response = Response::problem(500, 'A bug', 'The log says more.');
}
$response->send();
