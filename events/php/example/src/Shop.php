<?php

declare(strict_types=1);

namespace Errands\Example;

use Errands\ClientInterface;
use Errands\Exception;
use Errands\InvalidCallback;
use Errands\InvalidJob;
use Errands\InvalidSignature;
use Errands\Job;
use Errands\Refused;
use Errands\Unreachable;
use Errands\Webhook;

/** The API: it hands each job over and answers at once; the outcome comes to POST /callbacks. */
final class Shop
{
    private const BODY_LIMIT_BYTES = 10 * 1024 * 1024;

    public function __construct(
        private readonly Settings $settings,
        private readonly Jobs $jobs,
        private readonly ClientInterface $client,
    ) {
    }

    public function answer(string $method, string $path): Response
    {
        $method = $method === 'HEAD' ? 'GET' : $method;
        if (preg_match('#^/jobs/([^/]+)$#D', $path, $parts) === 1 && $method === 'GET') {
            return $this->job(rawurldecode($parts[1]));
        }
        return match ("$method $path") {
            'GET /' => $this->page(200, is_string($_GET['job'] ?? null) ? $_GET['job'] : 'ics'),
            'POST /jobs' => $this->order(),
            'POST /callbacks' => $this->callback(),
            'GET /healthz' => Response::json(200, ['status' => 'ok']),
            default => Response::problem(404, 'Not found', 'There is no such page.'),
        };
    }

    private function job(string $id): Response
    {
        $record = $this->jobs->find($id);
        return $record === null
            ? Response::problem(404, 'Not found', 'There is no such job.')
            : Response::json(200, array_diff_key($record, ['callbacks' => true]));
    }

    private function page(int $status, string $job, string $error = ''): Response
    {
        $warning = $this->settings->webhookSecrets === []
            ? 'No callback can be verified: set ERRANDS_WEBHOOK_SECRET or ERRANDS_WEBHOOK_SECRET_FILE.'
            : '';
        $page = new Page($this->jobs->newest(100), $job, $error, $warning, $_POST);
        return Response::html($status, $page->html(), [...$page->origins(), Page::origin($this->settings->sink)]);
    }

    private function order(): Response
    {
        // Browsers say where a form was: another site must not order in this one's name.
        if (!in_array($_SERVER['HTTP_SEC_FETCH_SITE'] ?? 'none', ['none', 'same-origin'], true)) {
            return Response::problem(403, 'Forbidden', 'Orders are taken from this site only.');
        }
        return str_starts_with(strtolower($_SERVER['CONTENT_TYPE'] ?? ''), 'application/json')
            ? $this->orderFromJson()
            : $this->orderFromForm();
    }

    private function orderFromJson(): Response
    {
        $order = json_decode((string) file_get_contents('php://input', length: self::BODY_LIMIT_BYTES));
        $job = is_object($order) ? $order->job ?? null : null;
        if (!is_string($job) || !isset(Forms::JOBS[$job]) || !is_object($order->data ?? null)) {
            $names = implode(', ', array_keys(Forms::JOBS));
            return Response::problem(422, 'Invalid order', "Expected {\"job\": one of $names, \"data\": {...}}.");
        }
        $data = get_object_vars($order->data);
        $subject = is_string($order->subject ?? null) && $order->subject !== '' ? $order->subject : null;
        try {
            $made = $this->make($job, $data)->withSubject($subject);
            return $this->handOver($made, Forms::title($job, $data));
        } catch (InvalidJob $error) {
            return self::invalid($error);
        }
    }

    private function orderFromForm(): Response
    {
        $job = is_string($_POST['job'] ?? null) ? $_POST['job'] : '';
        $person = str_contains($_SERVER['HTTP_ACCEPT'] ?? '', 'text/html');
        try {
            if ($_POST === [] && (int) ($_SERVER['CONTENT_LENGTH'] ?? 0) > 0) { // over post_max_size PHP drops it all
                throw new \DomainException('The form is too large.');
            }
            $upload = fn (string $path, string $name): string => $this->client->upload($path, $name);
            $data = Forms::data($job, $_POST, $_FILES, $upload);
            $file = is_string($_FILES['picture']['name'] ?? null) ? $_FILES['picture']['name'] : '';
            $made = $this->make($job, $data)->withSubject(Forms::order($_POST));
            $response = $this->handOver($made, Forms::title($job, $data, $file));
        } catch (Refused | Unreachable $error) {
            error_log($error->getMessage());
            return $person
                ? $this->page(503, $job, 'The picture could not be handed over. Try again in a moment.')
                : Response::problem(503, 'Not handed over', $error->getMessage());
        } catch (\DomainException | InvalidJob $error) {
            return $person ? $this->page(422, $job, self::told($error)) : self::invalid($error);
        }
        return $person ? Response::seeOther('/?job=' . rawurlencode($job)) : $response;
    }

    /** @param array<string, mixed> $data */
    private function make(string $job, array $data): Job
    {
        return Job::of("dev.errands.$job.requested.v1", $data)
            ->withCallbackUrl($this->settings->callbackUrl)
            ->withTraceparent($_SERVER['HTTP_TRACEPARENT'] ?? null, $_SERVER['HTTP_TRACESTATE'] ?? null);
    }

    private function handOver(Job $job, string $title): Response
    {
        $this->jobs->open($job, $title);
        try {
            $this->client->emit($job);
        } catch (InvalidJob $error) {
            $this->jobs->unsent($job->id, self::told($error));
            throw $error;
        } catch (Exception $error) {
            error_log($error->getMessage());
            $this->jobs->unsent($job->id, $error->getMessage());
            return Response::problem(503, 'Not handed over', $error->getMessage());
        }
        $this->jobs->accepted($job->id, $this->stream($job));
        return Response::json(202, ['id' => $job->id], ['Location' => "/jobs/{$job->id}"]);
    }

    private static function invalid(\DomainException|InvalidJob $error): Response
    {
        $errors = $error instanceof InvalidJob ? $error->errors : [];
        return Response::problem(422, 'Invalid order', self::told($error), $errors);
    }

    /** What is wrong, for a person: each field that Errands has named. */
    private static function told(\DomainException|InvalidJob $error): string
    {
        $errors = $error instanceof InvalidJob ? $error->errors : [];
        $fields = array_map(static fn (array $each): string => substr($each['pointer'], 2) . ' ' . $each['detail'], $errors);
        return implode('; ', $fields) ?: $error->getMessage();
    }

    /** Where the page may follow the job; without it the page asks this API now and then. */
    private function stream(Job $job): ?string
    {
        try {
            return $this->client->streamUrl($job);
        } catch (Exception $error) {
            error_log($error->getMessage());
            return null;
        }
    }

    private function callback(): Response
    {
        if ($this->settings->webhookSecrets === []) {
            return Response::problem(503, 'Not configured', 'ERRANDS_WEBHOOK_SECRET is not set.');
        }
        try {
            $this->jobs->receive(Webhook::fromGlobals($this->settings->webhookSecrets));
        } catch (InvalidSignature $error) {
            return Response::problem(401, 'Invalid signature', $error->getMessage());
        } catch (InvalidCallback $error) {
            return Response::problem(400, 'Invalid callback', $error->getMessage());
        }
        return Response::noContent();
    }
}
