<?php

declare(strict_types=1);

namespace Errands\Testing;

use Errands\Job;

/**
 * Makes callbacks as Errands does, for tests of the route that takes them.
 *
 *     $signer = new CallbackSigner();  // give its secret to the application: ERRANDS_WEBHOOK_SECRET
 *     $callback = $signer->completed($job, ['artifacts' => []]);
 *     $this->client->request('POST', '/callbacks', server: $callback->server(), content: $callback->body);
 */
final class CallbackSigner
{
    // They say when a job is done, and stand on no outcome: events/job.py.
    private const ADMISSION = [
        'delay' => 0, 'notbefore' => 0, 'priority' => 0, 'uniquekey' => 0, 'limitkey' => 0, 'debounce' => 0,
    ];

    public readonly string $secret;

    /**
     * @param ?string $secret `whsec_...`; null makes one
     * @param string  $source of jobs that have none of their own
     */
    public function __construct(
        #[\SensitiveParameter] ?string $secret = null,
        private readonly string $source = 'https://shop.example/orders',
    ) {
        $this->secret = $secret ?? 'whsec_' . base64_encode(random_bytes(24));
    }

    /** @param array<string, mixed> $data of the outcome: `artifacts` and what else the job tells */
    public function completed(Job $job, array $data = []): SignedCallback
    {
        return $this->outcome($job, 'completed', $data);
    }

    /** @param list<array{pointer: string, detail: string}> $errors */
    public function failed(Job $job, string $detail, array $errors = [], string $kind = 'invalid-data'): SignedCallback
    {
        $problem = [
            'type' => "https://errands.dev/problems/$kind",
            'title' => ucfirst(str_replace('-', ' ', $kind)),
            'detail' => $detail,
            'errors' => $errors,
        ];
        return $this->outcome($job, 'failed', $problem);
    }

    public function deadlettered(Job $job, string $error): SignedCallback
    {
        return $this->outcome($job, 'deadlettered', ['error' => $error]);
    }

    /** A body of your own, signed. Another time than now is refused by a Webhook, as an old callback is. */
    public function sign(string $body, string $id, ?int $time = null): SignedCallback
    {
        $time ??= time();
        $key = (string) base64_decode(substr($this->secret, strlen('whsec_')), true);
        return new SignedCallback($body, [
            'content-type' => 'application/cloudevents+json',
            'webhook-id' => $id,
            'webhook-timestamp' => (string) $time,
            'webhook-signature' => 'v1,' . base64_encode(hash_hmac('sha256', "$id.$time.$body", $key, true)),
        ]);
    }

    /** @param array<string, mixed> $data */
    private function outcome(Job $job, string $outcome, array $data): SignedCallback
    {
        $job = $job->source === null ? $job->withSource($this->source) : $job;
        $request = $job->toCloudEvent();
        $carried = array_intersect_key($request, ['subject' => 0, 'traceparent' => 0, 'callbackurl' => 0])
            + array_diff_key($job->extensions, self::ADMISSION);
        $id = bin2hex(random_bytes(16));
        $event = [
            'specversion' => '1.0',
            'id' => $id,
            'source' => '/errands/' . (explode('.', $job->type)[2] ?? 'job'),
            'type' => str_replace('.requested.', ".$outcome.", $job->type),
            'time' => gmdate('Y-m-d\TH:i:s\Z'),
            'datacontenttype' => 'application/json',
            'jobid' => $job->id,
            'jobsource' => $job->source,
            'outcome' => $outcome,
            'data' => $data === [] ? new \stdClass() : $data,
        ];
        return $this->sign(json_encode($event + $carried, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES), $id);
    }
}
