<?php

declare(strict_types=1);

namespace Errands;

use Psr\Http\Client\ClientExceptionInterface;
use Psr\Http\Client\ClientInterface as HttpClient;
use Psr\Http\Client\NetworkExceptionInterface;
use Psr\Http\Message\RequestFactoryInterface;
use Psr\Http\Message\StreamFactoryInterface;

/**
 * By an HTTP client of PSR-18, where the application has one with its own proxies, logs and certificates.
 *
 *     new Client($source, transport: new Psr18Transport($client, $factory, $factory));
 *
 * Its time limits are that client's own: Client's timeoutSeconds does not reach it. It must follow no redirects.
 */
final class Psr18Transport implements Transport
{
    public function __construct(
        private readonly HttpClient $client,
        private readonly RequestFactoryInterface $requests,
        private readonly StreamFactoryInterface $streams,
    ) {
    }

    public function send(Request $request): Response
    {
        $made = $this->requests->createRequest($request->method, $request->url);
        foreach ($request->headers as $header) {
            [$name, $value] = explode(': ', $header, 2);
            $made = $made->withHeader($name, $value);
        }
        if (is_resource($request->body)) { // read: a PSR-7 stream would close it, and it may be sent again
            $made = $made->withBody($this->streams->createStream(stream_get_contents($request->body)));
        } elseif ($request->body !== '') {
            $made = $made->withBody($this->streams->createStream($request->body));
        }
        try {
            $answer = $this->client->sendRequest($made);
        } catch (ClientExceptionInterface $error) {
            return Response::fault($error->getMessage(), isLasting: !$error instanceof NetworkExceptionInterface);
        }
        $retryAfter = $answer->getHeaderLine('Retry-After');
        return new Response($answer->getStatusCode(), (string) $answer->getBody(), $retryAfter ?: null);
    }
}
