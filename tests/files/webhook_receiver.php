<?php

/**
 * An API that is called back, as a Symfony or Laravel application would take it: `php -S HOST:PORT webhook_receiver.php`.
 *
 * It checks each profile by its own rule, over requests that the frameworks' own classes have read: 204 when the
 * signature is right, 406 otherwise. The secret is in WEBHOOK_SECRET.
 */

declare(strict_types=1);

require_once '/usr/share/php/Symfony/Component/HttpFoundation/autoload.php';
require_once '/usr/share/php/GuzzleHttp/Psr7/autoload.php';
require_once __DIR__ . '/../../events/php/src/autoload.php';

use GuzzleHttp\Psr7\ServerRequest;
use Symfony\Component\HttpFoundation\Request;

/** Standard Webhooks 1.0, by the client that Errands ships, over a PSR-7 request. */
function standard(ServerRequest $request, string $secret): bool
{
    $headers = array_map(static fn (array $values): string => implode(', ', $values), $request->getHeaders());
    try {
        $callback = (new Errands\Webhook($secret))->verify((string) $request->getBody(), $headers);
    } catch (Errands\InvalidSignature) {
        return false;
    }

    return $callback->isCompleted();
}

/** Symfony up to 8.1: its webhook component's RequestParser over event name, id and body. */
function symfonyLegacy(Request $request, string $secret): bool
{
    $headers = $request->headers;
    if (!$request->isMethod('POST') || !$headers->has('Webhook-Event') || !$headers->has('Webhook-Id')) {
        return false;
    }
    $signed = $headers->get('Webhook-Event') . $headers->get('Webhook-Id') . $request->getContent();
    $expected = 'sha256=' . hash_hmac('sha256', $signed, $secret);

    return hash_equals($expected, (string) $headers->get('Webhook-Signature'))
        && $request->toArray()['type'] === $headers->get('Webhook-Event');
}

/** spatie/laravel-webhook-client: its DefaultSignatureValidator; Laravel's request is one of Symfony's. */
function spatie(Request $request, string $secret): bool
{
    return hash_equals(hash_hmac('sha256', $request->getContent(), $secret), (string) $request->headers->get('Signature'));
}

$secret = (string) getenv('WEBHOOK_SECRET');
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$right = match ($path) {
    '/standard' => standard(ServerRequest::fromGlobals(), $secret),
    '/symfony-legacy' => symfonyLegacy(Request::createFromGlobals(), $secret),
    '/spatie' => spatie(Request::createFromGlobals(), $secret),
};
http_response_code($right ? 204 : 406);
