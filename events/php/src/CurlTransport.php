<?php

declare(strict_types=1);

namespace Errands;

/** By PHP's curl. */
final class CurlTransport implements Transport
{
    private const RESPONSE_LIMIT_BYTES = 16 * 1024 * 1024;
    // A repeated request does no harm, so every fault of the connection is worth another try; a bad certificate is not.
    private const TRANSIENT = [
        CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT, CURLE_OPERATION_TIMEDOUT, CURLE_GOT_NOTHING,
        CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_PARTIAL_FILE, CURLE_SSL_CONNECT_ERROR, CURLE_COULDNT_RESOLVE_PROXY,
    ];

    /** @param ?string $proxy a URL, for a sink behind one; the environment's is never used */
    public function __construct(
        private readonly float $connectTimeoutSeconds = 2.0,
        private readonly ?string $proxy = null,
    ) {
        if ($connectTimeoutSeconds <= 0) {
            throw new \InvalidArgumentException("connectTimeoutSeconds must be more than 0, got $connectTimeoutSeconds");
        }
    }

    public function send(Request $request): Response
    {
        $handle = $this->handle($request);
        $received = '';
        $retryAfter = null;
        curl_setopt($handle, CURLOPT_WRITEFUNCTION, static function ($_, string $chunk) use (&$received): int {
            $received .= substr($chunk, 0, max(0, self::RESPONSE_LIMIT_BYTES - strlen($received)));
            return strlen($chunk);
        });
        curl_setopt($handle, CURLOPT_HEADERFUNCTION, static function ($_, string $line) use (&$retryAfter): int {
            if (stripos($line, 'retry-after:') === 0) {
                $retryAfter = trim(substr($line, strlen('retry-after:')));
            }
            return strlen($line);
        });
        curl_exec($handle);
        $status = (int) curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
        $fault = curl_errno($handle);
        return $fault === 0
            ? new Response($status, $received, $retryAfter)
            : Response::fault(curl_error($handle), $status, isLasting: !in_array($fault, self::TRANSIENT, true));
    }

    private function handle(Request $request): \CurlHandle
    {
        $handle = curl_init();
        curl_setopt_array($handle, $this->content($request) + [
            CURLOPT_URL => $request->url,
            // without 'Expect:' curl waits a second for a 100 before it sends a large body
            CURLOPT_HTTPHEADER => [...$request->headers, 'Expect:'],
            CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
            CURLOPT_FOLLOWLOCATION => false,
            // '' and not null: else curl gives token and event to the environment's http_proxy, whose 202 is not the sink's
            CURLOPT_PROXY => $this->proxy ?? '',
            CURLOPT_CONNECTTIMEOUT_MS => (int) ceil($this->connectTimeoutSeconds * 1000),
            CURLOPT_TIMEOUT_MS => (int) ceil($request->timeoutSeconds * 1000),
            CURLOPT_NOSIGNAL => true,
            CURLOPT_USERAGENT => 'errands-php/1',
        ]);
        return $handle;
    }

    /** @return array<int, mixed> */
    private function content(Request $request): array
    {
        return match (true) {
            is_resource($request->body) => [
                CURLOPT_UPLOAD => true,
                CURLOPT_INFILE => $request->body,
                CURLOPT_INFILESIZE => $request->sizeBytes,
                CURLOPT_CUSTOMREQUEST => $request->method,
            ],
            $request->method === 'POST' => [CURLOPT_POST => true, CURLOPT_POSTFIELDS => $request->body],
            default => [CURLOPT_CUSTOMREQUEST => $request->method],
        };
    }
}
