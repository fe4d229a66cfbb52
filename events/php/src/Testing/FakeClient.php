<?php

declare(strict_types=1);

namespace Errands\Testing;

use Errands\ClientInterface;
use Errands\Exception;
use Errands\Job;
use Errands\JobStatus;
use Errands\Key;
use Errands\TooLate;
use Errands\UnknownJob;
use Errands\Upload;

/**
 * In place of a Client in tests: it takes jobs, does none of them, and says what it was asked for.
 *
 *     $errands = new FakeClient();
 *     $shop = new Shop($errands);
 *     ...
 *     $errands->assertSent(ReportJob::class, fn (ReportJob $job) => $job->subject === 'order-1042');
 *
 * A job is refused where it could not be sent; Errands' own checks of its data are not done here. It waits until ends()
 * says how it has ended.
 */
final class FakeClient implements ClientInterface
{
    /** @var list<Job> */
    private array $sent = [];
    /** @var array<string, JobStatus> */
    private array $statuses = [];
    /** @var list<string> */
    private array $cancelled = [];
    /** @var list<string> */
    private array $retried = [];
    /** @var array<string, string> the content by its name */
    private array $uploaded = [];
    private ?Exception $fault = null;

    public function __construct(private readonly string $source = 'https://shop.example/orders')
    {
    }

    /** Whatever is asked for from now on throws this, such as an Unreachable; null ends it. */
    public function failWith(?Exception $fault): self
    {
        $this->fault = $fault;
        return $this;
    }

    /**
     * A job that was sent has ended: `JobStatus::COMPLETED` with the data of its outcome, or another state.
     *
     * @param array<string, mixed> $result
     */
    public function ends(Job|string $job, string $state = JobStatus::COMPLETED, array $result = []): self
    {
        $this->become($this->find($job), $state, $result);
        return $this;
    }

    public function emit(Job $job): string
    {
        $this->throwFault();
        $job = $job->source === null ? $job->withSource($this->source) : $job;
        $job->toHeaders();
        $job->dataToJson();
        $this->sent[] = $job;
        $key = Key::of((string) $job->source, $job->id);
        $now = new \DateTimeImmutable();
        $this->statuses[$key] ??= new JobStatus(
            key: $key,
            source: (string) $job->source,
            id: $job->id,
            type: $job->type,
            state: JobStatus::WAITING,
            subject: $job->subject,
            acceptedAt: $now,
            since: $now,
            streamUrl: "http://errands.example/jobs/$key/stream?ticket=fake",
        );
        return $job->id;
    }

    public function status(Job|string $job): JobStatus
    {
        $this->throwFault();
        return $this->find($job);
    }

    public function wait(Job|string $job, float $seconds = 30.0): JobStatus
    {
        return $this->status($job);
    }

    public function cancel(Job|string $job): JobStatus
    {
        $status = $this->status($job);
        if (!$status->isOpen() && $status->state !== JobStatus::CANCELLED) {
            throw new TooLate("job {$status->id}: the job is {$status->state}");
        }
        $this->cancelled[] = $status->id;
        return $this->become($status, JobStatus::CANCELLED, ['title' => 'Cancelled', 'detail' => 'the job was cancelled']);
    }

    public function retry(Job|string $job): JobStatus
    {
        $status = $this->status($job);
        if ($status->isOpen() || $status->isCompleted()) {
            throw new TooLate("job {$status->id}: the job is {$status->state}");
        }
        $this->retried[] = $status->id;
        return $this->become($status, JobStatus::WAITING, []);
    }

    public function upload(mixed $file, ?string $name = null, float $timeoutSeconds = 60.0): string
    {
        $this->throwFault();
        $upload = Upload::of($file, $name);
        rewind($upload->stream);
        $content = (string) stream_get_contents($upload->stream);
        $this->uploaded[$upload->name] = $content;
        return 'uploads/' . hash('sha256', $content) . "/{$upload->name}";
    }

    public function streamUrl(Job|string $job): string
    {
        return (string) $this->status($job)->streamUrl;
    }

    /**
     * The jobs that were sent, in their order.
     *
     * @param ?string               $type  a builder's class, an event's type, or a job's name: `image`; null: all
     * @param ?\Closure(Job): mixed $where which of them
     * @return list<Job>
     */
    public function sent(?string $type = null, ?\Closure $where = null): array
    {
        $wanted = static fn (Job $job): bool => ($type === null || self::isOf($job, $type))
            && ($where === null || (bool) $where($job));
        return array_values(array_filter($this->sent, $wanted));
    }

    /**
     * At least one job of this type was sent, that is as `$where` says; or exactly so many.
     *
     * @param ?\Closure(Job): mixed $where
     */
    public function assertSent(string $type, ?\Closure $where = null, ?int $times = null): void
    {
        $count = count($this->sent($type, $where));
        $wanted = $times === null ? "a job of $type" : "$times jobs of $type";
        $this->check($times === null ? $count > 0 : $count === $times, $where === null ? $wanted : "$wanted as asked for");
    }

    /** @param ?\Closure(Job): mixed $where */
    public function assertNotSent(string $type, ?\Closure $where = null): void
    {
        $this->check($this->sent($type, $where) === [], "no job of $type" . ($where === null ? '' : ' as asked for'));
    }

    public function assertNothingSent(): void
    {
        $this->check($this->sent === [], 'no job');
    }

    public function assertCancelled(Job|string $job): void
    {
        $id = $job instanceof Job ? $job->id : $job;
        Assertions::holds(in_array($id, $this->cancelled, true), "expected job $id to be cancelled");
    }

    public function assertRetried(Job|string $job): void
    {
        $id = $job instanceof Job ? $job->id : $job;
        Assertions::holds(in_array($id, $this->retried, true), "expected job $id to be done anew");
    }

    /** A file was handed over under this name, with this content where it is given. */
    public function assertUploaded(string $name, ?string $content = null): void
    {
        $known = implode(', ', array_keys($this->uploaded)) ?: 'none';
        $holds = isset($this->uploaded[$name]) && ($content === null || $this->uploaded[$name] === $content);
        Assertions::holds($holds, "expected file $name" . ($content === null ? '' : ' with its content') . ", got $known");
    }

    private function check(bool $holds, string $wanted): void
    {
        $sent = array_map(static fn (Job $job): string => "{$job->type} {$job->id}", $this->sent);
        Assertions::holds($holds, "expected $wanted to be sent, got " . (implode(', ', $sent) ?: 'none'));
    }

    private static function isOf(Job $job, string $type): bool
    {
        return $job instanceof $type || $job->type === $type || (explode('.', $job->type)[2] ?? '') === $type;
    }

    private function find(Job|string $job): JobStatus
    {
        $id = $job instanceof Job ? $job->id : $job;
        $source = $job instanceof Job ? $job->source ?? $this->source : $this->source;
        return $this->statuses[Key::of($source, $id)] ?? throw new UnknownJob("job $id: there is no such job");
    }

    /** @param array<string, mixed> $result */
    private function become(JobStatus $status, string $state, array $result): JobStatus
    {
        $now = new \DateTimeImmutable();
        $isOpen = in_array($state, [JobStatus::WAITING, JobStatus::SENT], true);
        $changes = ['state' => $state, 'result' => $result, 'since' => $now, 'endedAt' => $isOpen ? null : $now];
        return $this->statuses[$status->key] = new JobStatus(...array_merge(get_object_vars($status), $changes));
    }

    private function throwFault(): void
    {
        if ($this->fault !== null) {
            throw $this->fault;
        }
    }
}
