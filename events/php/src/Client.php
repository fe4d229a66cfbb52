<?php

declare(strict_types=1);

namespace Errands;

/**
 * Hands jobs to Errands over HTTP.
 *
 *     $client = new Client(source: 'https://shop.example/orders');
 *     $id = $client->emit(Job::ics([...]));
 *
 * The worst case takes (retries + 1) * timeoutSeconds + retries * maxWaitSeconds; a sink that is up answers in
 * milliseconds, because it only puts the job on disk.
 */
final class Client
{
    private const FIRST_WAIT_SECONDS = 0.2;
    private const RESPONSE_LIMIT_BYTES = 65_536;

    private readonly string $sink;
    private readonly \Closure $sleep;

    /**
     * @param string                     $source          a URI of your API; with a job's id it identifies the job
     * @param ?string                    $sink            default: the environment's K_SINK, else http://127.0.0.1:8080
     * @param float                      $timeoutSeconds  of one attempt, the connection included
     * @param int                        $retries         after the first attempt; 0 for none
     * @param ?string                    $token           sent as `Authorization: Bearer`
     * @param float                      $maxWaitSeconds  the longest pause between attempts, whatever Retry-After says
     * @param ?\Closure(float): mixed    $sleep           waits so many seconds; for tests
     * @param ?string                    $proxy           a URL, for a sink behind one; the environment's is never used
     */
    public function __construct(
        private readonly string $source,
        ?string $sink = null,
        private readonly float $timeoutSeconds = 5.0,
        private readonly float $connectTimeoutSeconds = 2.0,
        private readonly int $retries = 3,
        #[\SensitiveParameter] private readonly ?string $token = null,
        private readonly float $maxWaitSeconds = 5.0,
        ?\Closure $sleep = null,
        private readonly ?string $proxy = null,
    ) {
        $this->sink = self::checkedSink($sink ?? (getenv('K_SINK') ?: 'http://127.0.0.1:8080'));
        $this->sleep = $sleep ?? static fn (float $seconds) => usleep((int) ($seconds * 1_000_000));
        if ($timeoutSeconds <= 0 || $connectTimeoutSeconds <= 0 || $retries < 0 || $maxWaitSeconds < 0) {
            throw new \InvalidArgumentException('timeouts must be more than 0, retries and maxWaitSeconds at least 0');
        }
        if ($token !== null && preg_match('/^[\x21-\x7e]+$/D', $token) !== 1) {
            throw new \InvalidArgumentException('token must be printable ASCII without spaces');
        }
    }

    /**
     * Hand the job over and return its id; once this returns, Errands has it on disk.
     *
     * @throws InvalidJob  the job cannot be sent as it is
     * @throws Refused     trying again is of no use
     * @throws Unreachable no acceptance after every retry; the same Job may be emitted again without harm
     */
    public function emit(Job $job): string
    {
        $job = $job->source === null ? $job->withSource($this->source) : $job;
        $handle = $this->handle($job->toHeaders(), $job->dataToJson());
        for ($attempt = 1; ; $attempt++) {
            $response = $this->post($handle);
            if ($response->isAccepted()) {
                return $job->id;
            }
            $told = "job {$job->id} at {$this->sink}: {$response->reason()}";
            if (!$response->isTransient()) {
                throw new Refused("not accepted: $told", $job->id, $response->status);
            }
            if ($attempt > $this->retries) {
                $times = $attempt === 1 ? '1 attempt' : "$attempt attempts";
                throw new Unreachable("not accepted in $times: $told", $job->id, $response->status, $attempt);
            }
            ($this->sleep)($this->waitSeconds($attempt, $response));
        }
    }

    /**
     * In binary mode: Knative's broker decodes percent signs in the attributes of a structured event once too often.
     *
     * @param list<string> $attributes
     */
    private function handle(array $attributes, string $body): \CurlHandle
    {
        $headers = [
            ...$attributes,
            'Accept: application/json, application/problem+json',
            'Expect:', // else curl waits a second for a 100 before it sends a large body
        ];
        if ($this->token !== null) {
            $headers[] = "Authorization: Bearer {$this->token}";
        }
        $handle = curl_init();
        curl_setopt_array($handle, [
            CURLOPT_URL => $this->sink,
            CURLOPT_POST => true,
            CURLOPT_POSTFIELDS => $body,
            CURLOPT_HTTPHEADER => $headers,
            CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
            CURLOPT_FOLLOWLOCATION => false,
            // '' and not null: else curl gives token and event to the environment's http_proxy, whose 202 is not the sink's
            CURLOPT_PROXY => $this->proxy ?? '',
            CURLOPT_CONNECTTIMEOUT_MS => (int) ceil($this->connectTimeoutSeconds * 1000),
            CURLOPT_TIMEOUT_MS => (int) ceil($this->timeoutSeconds * 1000),
            CURLOPT_NOSIGNAL => true,
            CURLOPT_USERAGENT => 'errands-php/1',
        ]);
        return $handle;
    }

    private function post(\CurlHandle $handle): Response
    {
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
        return new Response($status, $received, $retryAfter, curl_errno($handle), curl_error($handle));
    }

    /** Exponential, with jitter so that many callers do not come back at the same moment; at least Retry-After. */
    private function waitSeconds(int $attempt, Response $response): float
    {
        $backoff = self::FIRST_WAIT_SECONDS * 2 ** ($attempt - 1) * (0.5 + mt_rand() / mt_getrandmax());
        return min($this->maxWaitSeconds, max($backoff, $response->retryAfterSeconds(time()) ?? 0.0));
    }

    private static function checkedSink(string $sink): string
    {
        $parts = parse_url($sink);
        $scheme = strtolower(is_array($parts) ? $parts['scheme'] ?? '' : '');
        if (!in_array($scheme, ['http', 'https'], true) || ($parts['host'] ?? '') === '') {
            throw new \InvalidArgumentException("sink must be an http or https URL, got '$sink'");
        }
        if (isset($parts['user']) || isset($parts['pass'])) { // it would stand in every error message
            throw new \InvalidArgumentException('sink must not hold a user or password; use token');
        }
        return $sink;
    }
}
