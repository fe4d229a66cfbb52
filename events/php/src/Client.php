<?php

declare(strict_types=1);

namespace Errands;

/**
 * Hands jobs to Errands over HTTP, and asks what became of them.
 *
 *     $client = new Client(source: 'https://shop.example/orders');
 *     $id = $client->emit(Job::report()->template('invoice')->data($invoice));
 *
 * The worst case takes (retries + 1) * timeoutSeconds + retries * maxWaitSeconds; a sink that is up answers in
 * milliseconds, because it only puts the job on disk.
 */
final class Client implements ClientInterface
{
    private const FIRST_WAIT_SECONDS = 0.2;
    private const ASKED_AT_ONCE_SECONDS = 30.0;

    private readonly string $sink;
    private readonly Transport $transport;
    private readonly \Closure $sleep;
    /** @var array{string, string} the key of the job that was emitted last, and its stream's address */
    private array $newest = ['', ''];

    /**
     * @param string                     $source          a URI of your API; with a job's id it identifies the job
     * @param ?string                    $sink            default: the environment's K_SINK, else http://127.0.0.1:8080
     * @param float                      $timeoutSeconds  of one attempt, the connection included
     * @param int                        $retries         after the first attempt; 0 for none
     * @param ?string                    $token           sent as `Authorization: Bearer`
     * @param float                      $maxWaitSeconds  the longest pause between attempts, whatever Retry-After says
     * @param ?\Closure(float): mixed    $sleep           waits so many seconds; for tests
     * @param ?string                    $proxy           a URL, for a sink behind one; the environment's is never used
     * @param ?Transport                 $transport       in place of PHP's curl, with its own timeouts and proxy
     */
    public function __construct(
        private readonly string $source,
        ?string $sink = null,
        private readonly float $timeoutSeconds = 5.0,
        float $connectTimeoutSeconds = 2.0,
        private readonly int $retries = 3,
        #[\SensitiveParameter] private readonly ?string $token = null,
        private readonly float $maxWaitSeconds = 5.0,
        ?\Closure $sleep = null,
        ?string $proxy = null,
        ?Transport $transport = null,
    ) {
        $this->sink = self::checkedSink($sink ?? (getenv('K_SINK') ?: 'http://127.0.0.1:8080'));
        $this->sleep = $sleep ?? static fn (float $seconds) => usleep((int) ($seconds * 1_000_000));
        if ($timeoutSeconds <= 0 || $connectTimeoutSeconds <= 0 || $retries < 0 || $maxWaitSeconds < 0) {
            throw new \InvalidArgumentException('timeouts must be more than 0, retries and maxWaitSeconds at least 0');
        }
        if ($token !== null && preg_match('/^[\x21-\x7e]+$/D', $token) !== 1) {
            throw new \InvalidArgumentException('token must be printable ASCII without spaces');
        }
        $this->transport = $transport ?? new CurlTransport($connectTimeoutSeconds, $proxy);
    }

    public function emit(Job $job): string
    {
        $job = $job->source === null ? $job->withSource($this->source) : $job;
        // In binary mode: Knative's broker decodes percent signs in the attributes of a structured event once too often.
        $request = new Request('POST', $this->sink, $job->toHeaders(), $job->dataToJson(), 0, $this->timeoutSeconds);
        $response = $this->answer($request, "job {$job->id}", $job->id);
        if (!$response->isAccepted()) {
            throw $this->refusal($response, "job {$job->id}", $job->id);
        }
        $told = JobStatus::fromArray($response->json(), rtrim($this->sink, '/'));
        $this->newest = [$this->key($job), $told->streamUrl ?? ''];
        return $job->id;
    }

    public function status(Job|string $job): JobStatus
    {
        return $this->told('GET', '/jobs/' . $this->key($job), $job);
    }

    public function wait(Job|string $job, float $seconds = 30.0): JobStatus
    {
        $end = microtime(true) + $seconds;
        do {
            $left = max(0.0, min(self::ASKED_AT_ONCE_SECONDS, $end - microtime(true)));
            $asked = ['source' => $this->source($job), 'id' => self::id($job), 'wait_s' => sprintf('%.3F', $left)];
            $path = '/jobs?' . http_build_query($asked, encoding_type: PHP_QUERY_RFC3986);
            $this->ask(new Request('GET', $this->at($path), timeoutSeconds: $this->timeoutSeconds + $left), $job);
            $status = $this->status($job);
        } while ($status->isOpen() && microtime(true) < $end);
        return $status;
    }

    public function cancel(Job|string $job): JobStatus
    {
        try {
            return $this->told('POST', '/jobs/' . $this->key($job) . '/cancel', $job);
        } catch (TooLate $error) { // also where the answer to the first attempt was lost
            $status = $this->status($job);
            return $status->state === JobStatus::CANCELLED ? $status : throw $error;
        }
    }

    public function retry(Job|string $job): JobStatus
    {
        return $this->told('POST', '/jobs/' . $this->key($job) . '/retry', $job);
    }

    public function upload(mixed $file, ?string $name = null, float $timeoutSeconds = 60.0): string
    {
        $upload = Upload::of($file, $name);
        $headers = ['Content-Type: application/octet-stream'];
        $place = $this->at('/files/' . rawurlencode($upload->name));
        $request = new Request('PUT', $place, $headers, $upload->stream, $upload->sizeBytes, $timeoutSeconds);
        $response = $this->answer($request, "file {$upload->name}");
        $key = $response->json()['key'] ?? null;
        if (!$response->isAccepted() || !is_string($key)) {
            throw $this->refusal($response, "file {$upload->name}");
        }
        return $key;
    }

    public function streamUrl(Job|string $job): string
    {
        if ($this->newest[1] !== '' && $this->newest[0] === $this->key($job)) { // its 202 has told
            return $this->newest[1];
        }
        return $this->status($job)->streamUrl
            ?? throw new Refused("no stream is told of job " . self::id($job), self::id($job), 200);
    }

    private function told(string $method, string $path, Job|string $job): JobStatus
    {
        $fields = $this->ask(new Request($method, $this->at($path), timeoutSeconds: $this->timeoutSeconds), $job)->json();
        if (!is_string($fields['state'] ?? null)) {
            $id = self::id($job);
            throw new Refused("no state of job $id is told at {$this->sink}: is it the gateway?", $id, 200);
        }
        return JobStatus::fromArray($fields, rtrim($this->sink, '/'));
    }

    private function ask(Request $request, Job|string $job): Response
    {
        $id = self::id($job);
        $response = $this->answer($request, "job $id", $id);
        return $response->isAccepted() ? $response : throw match ($response->status) {
            404 => new UnknownJob("job $id at {$this->sink}: {$response->reason()}"),
            409 => new TooLate("job $id at {$this->sink}: {$response->reason()}"),
            default => $this->refusal($response, "job $id", $id),
        };
    }

    /** What the sink says at last: that it is accepted, or why it never will be. */
    private function answer(Request $request, string $what, string $jobId = ''): Response
    {
        $request = $this->authorized($request);
        for ($attempt = 1; ; $attempt++) {
            if (is_resource($request->body)) {
                rewind($request->body);
            }
            $response = $this->transport->send($request);
            if (!$response->isTransient()) {
                return $response;
            }
            if ($attempt > $this->retries) {
                $times = $attempt === 1 ? '1 attempt' : "$attempt attempts";
                $told = "not accepted in $times: $what at {$this->sink}: {$response->reason()}";
                throw new Unreachable($told, $jobId, $response->status, $attempt);
            }
            ($this->sleep)($this->waitSeconds($attempt, $response));
        }
    }

    private function refusal(Response $response, string $what, string $jobId = ''): Exception
    {
        $told = "not accepted: $what at {$this->sink}: {$response->reason()}";
        $errors = $response->status === 422 ? Problem::fromArray($response->json())->errors : [];
        return $errors === []
            ? new Refused($told, $jobId, $response->status)
            : new InvalidJob($told, $errors, $jobId);
    }

    private function authorized(Request $request): Request
    {
        $headers = [...$request->headers, 'Accept: application/json, application/problem+json'];
        if ($this->token !== null) {
            $headers[] = "Authorization: Bearer {$this->token}";
        }
        return new Request(
            $request->method,
            $request->url,
            $headers,
            $request->body,
            $request->sizeBytes,
            $request->timeoutSeconds,
        );
    }

    private function at(string $path): string
    {
        return rtrim($this->sink, '/') . $path;
    }

    private function key(Job|string $job): string
    {
        return Key::of($this->source($job), self::id($job));
    }

    private function source(Job|string $job): string
    {
        return $job instanceof Job ? $job->source ?? $this->source : $this->source;
    }

    private static function id(Job|string $job): string
    {
        return $job instanceof Job ? $job->id : $job;
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
