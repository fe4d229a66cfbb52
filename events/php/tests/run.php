<?php

declare(strict_types=1);

// `php tests/run.php`: the tests of the library that need no server; exits 1 when one fails.

require __DIR__ . '/../src/autoload.php';

use Errands\Callback;
use Errands\Client;
use Errands\Flow;
use Errands\Input;
use Errands\InvalidCallback;
use Errands\InvalidJob;
use Errands\InvalidSignature;
use Errands\Job;
use Errands\Jobs\ImageJob;
use Errands\Testing\CallbackSigner;
use Errands\Testing\FakeClient;
use Errands\TooLate;
use Errands\UnknownJob;
use Errands\Unreachable;
use Errands\Webhook;

const SAMPLES = __DIR__ . '/../../samples/';
// The vector of the Standard Webhooks specification.
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const OTHER_SECRET = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX';
const VECTOR_TIME = 1614265330;
const VECTOR_BODY = '{"test": 2432232314}';
const VECTOR_HEADERS = [
    'webhook-id' => 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    'webhook-timestamp' => '1614265330',
    'webhook-signature' => 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
];

$passed = 0;
$failures = [];

function test(string $sentence, callable $body): void
{
    global $passed, $failures;
    try {
        $body();
        $passed++;
        echo "ok   $sentence\n";
    } catch (Throwable $error) {
        $failures[] = $sentence;
        echo "FAIL $sentence\n     " . get_class($error) . ": {$error->getMessage()} ({$error->getLine()})\n";
    }
}

function same(mixed $expected, mixed $got): void
{
    if ($expected !== $got) {
        throw new LogicException('expected ' . json_encode($expected) . ', got ' . json_encode($got));
    }
}

/** @param class-string<Throwable> $class */
function throws(string $class, string $part, callable $body): void
{
    try {
        $body();
    } catch (Throwable $error) {
        if ($error instanceof $class && str_contains($error->getMessage(), $part)) {
            return;
        }
        throw $error;
    }
    throw new LogicException("expected $class with '$part', nothing was thrown");
}

/** @param string|list<string> $secrets */
function webhook(string|array $secrets = SECRET, int $now = VECTOR_TIME): Webhook
{
    return new Webhook($secrets, clock: static fn (): int => $now);
}

function signature(string $body, string $secret = SECRET): string
{
    $signed = VECTOR_HEADERS['webhook-id'] . '.' . VECTOR_TIME . '.' . $body;
    return 'v1,' . base64_encode(hash_hmac('sha256', $signed, base64_decode(substr($secret, 6)), true));
}

function sample(string $type): string
{
    return (string) file_get_contents(SAMPLES . "$type.json");
}

/** Objects with their names in order, as JSON has none. */
function sorted(mixed $value): mixed
{
    if (is_array($value)) {
        array_is_list($value) || ksort($value);
        return array_map('sorted', $value);
    }
    return $value;
}

function callback(string $type): Callback
{
    $body = sample($type);
    return webhook()->verify($body, ['webhook-signature' => signature($body)] + VECTOR_HEADERS);
}

// --- the signature

test('the vector of the specification verifies', function (): void {
    same('msg_p5jXN8AQM9LWM0D4loKWxJek', webhook()->authenticate(VECTOR_BODY, VECTOR_HEADERS));
});

test('another secret does not verify', function (): void {
    $webhook = webhook(OTHER_SECRET);
    throws(InvalidSignature::class, 'no signature', fn () => $webhook->authenticate(VECTOR_BODY, VECTOR_HEADERS));
});

test('a body changed by one byte does not verify', function (): void {
    $body = VECTOR_BODY . ' ';
    throws(InvalidSignature::class, 'no signature', fn () => webhook()->authenticate($body, VECTOR_HEADERS));
});

test('the id and the time are signed too', function (): void {
    foreach (['webhook-id' => 'msg_other', 'webhook-timestamp' => '1614265331'] as $name => $value) {
        $headers = [$name => $value] + VECTOR_HEADERS;
        throws(InvalidSignature::class, 'no signature', fn () => webhook()->authenticate(VECTOR_BODY, $headers));
    }
});

test('five minutes are tolerated both ways, a second more is not', function (): void {
    foreach ([-300, 300] as $shift) {
        webhook(now: VECTOR_TIME + $shift)->authenticate(VECTOR_BODY, VECTOR_HEADERS);
    }
    foreach (['301 s old' => 301, '301 s ahead' => -301] as $words => $shift) {
        $late = webhook(now: VECTOR_TIME + $shift);
        throws(InvalidSignature::class, $words, fn () => $late->authenticate(VECTOR_BODY, VECTOR_HEADERS));
    }
});

test('a timestamp that is no number is refused', function (): void {
    foreach (['', '-1', '1614265330.0', '1e9', '99999999999999999999'] as $timestamp) {
        $headers = ['webhook-timestamp' => $timestamp] + VECTOR_HEADERS;
        throws(InvalidSignature::class, 'webhook-timestamp', fn () => webhook()->authenticate(VECTOR_BODY, $headers));
    }
});

test('one right signature among several is enough', function (): void {
    $headers = VECTOR_HEADERS;
    $headers['webhook-signature'] = 'v1a,abc v1,bm90IHRoaXMgb25l  ' . VECTOR_HEADERS['webhook-signature'] . ' v2,x';
    webhook()->authenticate(VECTOR_BODY, $headers);
});

test('a right signature under another version does not count', function (): void {
    foreach (['v1a', 'v2', ''] as $version) {
        $signature = str_replace('v1', $version, VECTOR_HEADERS['webhook-signature']);
        $headers = ['webhook-signature' => $signature] + VECTOR_HEADERS;
        throws(InvalidSignature::class, 'no signature', fn () => webhook()->authenticate(VECTOR_BODY, $headers));
    }
});

test('an empty or broken signature does not verify', function (): void {
    foreach (['v1,', 'v1', ',', 'v1,,', 'v1,====', 'V1,' . substr(VECTOR_HEADERS['webhook-signature'], 3)] as $broken) {
        $headers = ['webhook-signature' => $broken] + VECTOR_HEADERS;
        throws(InvalidSignature::class, 'no signature', fn () => webhook()->authenticate(VECTOR_BODY, $headers));
    }
});

test('while a secret is replaced, the old and the new one verify', function (): void {
    webhook([OTHER_SECRET, SECRET])->authenticate(VECTOR_BODY, VECTOR_HEADERS);
    $headers = ['webhook-signature' => signature(VECTOR_BODY, OTHER_SECRET)] + VECTOR_HEADERS;
    webhook([OTHER_SECRET, SECRET])->authenticate(VECTOR_BODY, $headers);
});

test('header names come in any case, as lists, and as PHP has them', function (): void {
    $shapes = ['title' => [], 'lists' => [], 'server' => ['REQUEST_METHOD' => 'POST', 'argc' => 0]];
    foreach (VECTOR_HEADERS as $name => $value) {
        $shapes['title'][ucwords($name, '-')] = $value;
        $shapes['lists'][$name] = [$value];
        $shapes['server']['HTTP_' . strtoupper(strtr($name, '-', '_'))] = $value;
    }
    foreach ($shapes as $headers) {
        same(VECTOR_HEADERS['webhook-id'], webhook()->authenticate(VECTOR_BODY, $headers));
    }
});

test('a missing header is named', function (): void {
    foreach (array_keys(VECTOR_HEADERS) as $name) {
        $headers = array_diff_key(VECTOR_HEADERS, [$name => true]);
        throws(InvalidSignature::class, "$name is missing", fn () => webhook()->authenticate(VECTOR_BODY, $headers));
    }
});

test('a secret that is short or no base64 is refused, and not shown', function (): void {
    foreach (['whsec_', 'whsec_c2hvcnQ=', 'whsec_not base64!'] as $secret) {
        throws(InvalidArgumentException::class, 'at least 16 bytes', fn () => new Webhook($secret));
    }
    throws(InvalidArgumentException::class, 'at least one secret', fn () => new Webhook([]));
});

// --- the callback

test('a completed callback tells the job and its files', function (): void {
    $callback = callback('dev.errands.image.completed.v1');
    same(['msg_p5jXN8AQM9LWM0D4loKWxJek', 'image', 'completed'], [$callback->id, $callback->job, $callback->outcome]);
    same(['order-1042-photo', 'order-1042'], [$callback->jobId, $callback->subject]);
    same('https://shop.example/orders', $callback->jobSource);
    same([true, false, false], [$callback->isCompleted(), $callback->isFailed(), $callback->isDeadlettered()]);
    same('2026-11-22T09:30:02+00:00', $callback->time?->format('c'));
    $event = json_decode(sample('dev.errands.image.completed.v1'), true);
    $first = $callback->artifacts()[0];
    $fields = $event['data']['artifacts'][0];
    same([$fields['name'], $fields['url'], $fields['media_type']], [$first->name, $first->url, $first->mediaType]);
    same([$fields['size_bytes'], $fields['width_px']], [$first->sizeBytes, $first->widthPx]);
    same(null, $callback->reason());
});

test('a failed callback names each bad field', function (): void {
    $callback = callback('dev.errands.ics.failed.v1');
    same(true, $callback->isFailed());
    same('#/events/0/timezone', $callback->problem?->errors[0]['pointer']);
    same('Invalid data', $callback->problem?->title);
    same(true, str_contains((string) $callback->reason(), 'IANA time zone'));
});

test('a dead-lettered callback tells the last error', function (): void {
    $callback = callback('dev.errands.report.deadlettered.v1');
    same([true, null], [$callback->isDeadlettered(), $callback->problem]);
    same('the store does not answer', $callback->reason());
});

test('every outcome in the samples is read', function (): void {
    foreach (glob(SAMPLES . '*.{completed,failed,deadlettered}.v1.json', GLOB_BRACE) ?: [] as $file) {
        $callback = callback(basename($file, '.json'));
        same(basename($file, '.json'), "dev.errands.{$callback->job}.{$callback->outcome}.v1");
        $callback->artifacts();
    }
});

test('a body that is no outcome is refused after its signature', function (): void {
    $bodies = ['not json', '[]', '"text"', '{"type":"dev.errands.ics.requested.v1","jobid":"a"}',
        '{"type":"dev.errands.ics.completed.v1"}', '{"type":["dev.errands.ics.completed.v1"],"jobid":"a"}'];
    foreach ($bodies as $body) {
        $headers = ['webhook-signature' => signature($body)] + VECTOR_HEADERS;
        throws(InvalidCallback::class, '', fn () => webhook()->verify($body, $headers));
    }
});

// --- the job

test('a job is serialised as the contract\'s samples are', function (): void {
    foreach (['ics', 'image', 'report', 'message'] as $job) {
        $event = json_decode(sample("dev.errands.$job.requested.v1"), true);
        $made = Job::{$job}($event['data'])
            ->withId($event['id'])->withSource($event['source'])->withSubject($event['subject'])
            ->withTime(new DateTimeImmutable('2026-11-22T10:30:00+01:00'));
        $event['time'] = '2026-11-22T09:30:00.000Z';
        ksort($event);
        $got = json_decode($made->toJson(), true);
        ksort($got);
        same($event, $got);
    }
});

test('a job has what is set, and nothing empty', function (): void {
    $job = Job::message(['to' => ['a@b.example'], 'subject' => 'x', 'text' => 'y'])->withSource('/shop');
    same(['specversion', 'id', 'source', 'type', 'time', 'datacontenttype', 'data'], array_keys($job->toCloudEvent()));
    $event = $job->withCallbackUrl('https://shop.example/callbacks')
        ->withExpiresAt(new DateTime('2026-12-01 14:00', new DateTimeZone('Europe/Berlin')))
        ->withTraceparent('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'a=b')->toCloudEvent();
    same('https://shop.example/callbacks', $event['callbackurl']);
    same('2026-12-01T13:00:00.000Z', $event['expirytime']);
    same('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', $event['traceparent']);
    same('a=b', $event['tracestate']);
});

test('a job is not changed by the methods that look like it', function (): void {
    $job = Job::ics(['events' => []]);
    $other = $job->withSubject('order-1042');
    same([null, 'order-1042'], [$job->subject, $other->subject]);
    same([$job->id, $job->time], [$other->id, $other->time]);
    same(null, $other->withSubject(null)->subject);
});

test('what says when and in what order is an attribute, as Errands reads it', function (): void {
    $at = new DateTimeImmutable('2026-12-24 18:00', new DateTimeZone('Europe/Berlin'));
    $job = Job::report()->template('invoice')->delay('48 hours')->at($at)->unique('order-1042')->debounce(600)
        ->priority('low')->limit('customer-7')->withExtension('correlationid', 'Łódź');
    same(Errands\Jobs\ReportJob::class, get_class($job));
    $event = $job->withSource('/s')->toCloudEvent();
    same(['PT172800S', '2026-12-24T17:00:00.000Z'], [$event['delay'], $event['notbefore']]);
    same(['order-1042', 'PT600S', 'low'], [$event['uniquekey'], $event['debounce'], $event['priority']]);
    same(['customer-7', 'Łódź'], [$event['limitkey'], $event['correlationid']]);
    same(true, in_array('ce-correlationid: %C5%81%C3%B3d%C5%BA', $job->withSource('/s')->toHeaders(), true));
    same(false, isset($job->withExtension('delay', null)->extensions['delay']));
});

test('a time to wait is told in seconds, however it is given', function (): void {
    $job = Job::ics()->withTime(new DateTimeImmutable('2026-02-01 00:00:00Z'));
    $given = ['PT1S' => 1, 'PT5400S' => 'PT1H30M', 'PT2419200S' => '1 month', 'PT604800S' => new DateInterval('P7D')];
    foreach ($given as $expected => $each) {
        same($expected, $job->delay($each)->extensions['delay']);
    }
    foreach (['', 'soon', 'P', '-1 hour', '0 seconds', 0, -5] as $bad) {
        throws(InvalidJob::class, 'delay must be a time', fn () => $job->delay($bad));
    }
});

test('an attribute that has a method, or a name that is none, is no extension', function (): void {
    foreach (['id', 'callbackurl', 'traceparent', 'Tenant', 'a-b', '', str_repeat('a', 21)] as $name) {
        throws(InvalidJob::class, "extension's name", fn () => Job::ics()->withExtension($name, 'x'));
    }
    throws(InvalidJob::class, 'uniquekey must not be empty', fn () => Job::ics()->unique(''));
});

test('a builder refuses what is not UTF-8 by its path', function (): void {
    throws(InvalidJob::class, 'data/to/1 must be UTF-8', fn () => Job::message()->to('a@b.example', "\xff"));
    throws(InvalidJob::class, 'data/outputs/0/name', fn () => Job::image()->output("K\xf6ln.png"));
});

test('ids are UUIDs version 7, all different', function (): void {
    $ids = array_map(static fn (): string => Job::ics([])->id, range(1, 1000));
    same(1000, count(array_unique($ids)));
    foreach ($ids as $id) {
        same(1, preg_match('/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/', $id));
    }
    same(true, abs(hexdec(substr($ids[0], 0, 8) . substr($ids[0], 9, 4)) / 1000 - time()) < 5);
});

test('empty data is an object, not a list', function (): void {
    same(true, str_contains(Job::ics([])->withSource('/s')->toJson(), '"data":{}'));
    same(true, str_contains(Job::report(['template' => 't', 'data' => []])->withSource('/s')->toJson(), '"data":{}}'));
    throws(InvalidJob::class, 'got a list', fn () => Job::ics(['an event']));
});

test('text that is not UTF-8 is refused by its path', function (): void {
    $latin1 = ['events' => [['summary' => "K\xf6ln"]]];
    throws(InvalidJob::class, 'data/events/0/summary must be UTF-8', fn () => Job::ics($latin1));
    throws(InvalidJob::class, 'a name in data', fn () => Job::ics(["\xff" => 1]));
    throws(InvalidJob::class, 'data/o/x must be UTF-8', fn () => Job::ics(['o' => (object) ['x' => "\xff"]]));
});

test('what JSON cannot say is a clear exception', function (): void {
    throws(InvalidJob::class, 'expressible as JSON', fn () => Job::ics(['n' => NAN])->withSource('/s')->toJson());
});

test('text stays readable and numbers stay what they are', function (): void {
    $json = Job::ics(['a' => 'Łódź/ß', 'b' => 12.0, 'c' => 0.1])->withSource('/s')->toJson();
    same(true, str_contains($json, '{"a":"Łódź/ß","b":12.0,"c":0.1}'));
});

test('attributes go as headers, percent-encoded, and the data alone as the body', function (): void {
    $job = Job::ics(['a' => 1])->withSource('/s')->withSubject('Łódź 50% "x" %41');
    same(true, in_array('ce-subject: %C5%81%C3%B3d%C5%BA%2050%25%20%22x%22%20%2541', $job->toHeaders(), true));
    same(true, in_array('Content-Type: application/json', $job->toHeaders(), true));
    same([], preg_grep('/^ce-(data|datacontenttype|callbackurl)/', $job->toHeaders()));
    same('{"a":1}', $job->dataToJson());
    same('{}', Job::ics([])->withSource('/s')->dataToJson());
});

test('bad attributes are refused', function (): void {
    $job = Job::ics([]);
    throws(InvalidJob::class, 'subject must not be empty', fn () => $job->withSubject(''));
    throws(InvalidJob::class, 'id must not be empty', fn () => $job->withId(''));
    throws(InvalidJob::class, 'without control characters', fn () => $job->withSubject("a\nb"));
    throws(InvalidJob::class, 'must be UTF-8', fn () => $job->withSubject("\xff"));
    throws(InvalidJob::class, 'at most 4096', fn () => $job->withSubject(str_repeat('ł', 700)));
    throws(InvalidJob::class, 'URI reference', fn () => $job->withSource('my shop'));
    throws(InvalidJob::class, 'http or https', fn () => $job->withCallbackUrl('ftp://shop.example/'));
    throws(InvalidJob::class, 'type must not be empty', fn () => Job::of('', []));
    throws(InvalidJob::class, 'needs a source', fn () => $job->toJson());
});

test('a malformed traceparent from outside is left out', function (): void {
    same(null, Job::ics([])->withTraceparent('<script>', 'a=b')->traceparent);
    same(null, Job::ics([])->withTraceparent('<script>', 'a=b')->tracestate);
});

test('bytes go inline with their hash', function (): void {
    same(['data_base64' => 'AP8=', 'sha256' => hash('sha256', "\0\xff")], Input::bytes("\0\xff"));
    same(['url' => 'https://a.example/b'], Input::url('https://a.example/b'));
});

// --- the secret, requests of frameworks

test('the secret comes from the environment, and its absence names it', function (): void {
    throws(InvalidArgumentException::class, 'set ERRANDS_WEBHOOK_SECRET', fn () => new Webhook());
    throws(InvalidArgumentException::class, 'set ERRANDS_WEBHOOK_SECRET', fn () => Webhook::fromGlobals());
    throws(InvalidArgumentException::class, 'set ERRANDS_WEBHOOK_SECRET', fn () => new Webhook(getenv('NOT_SET_AT_ALL')));
    throws(InvalidArgumentException::class, 'set ERRANDS_WEBHOOK_SECRET', fn () => new Webhook(''));
    $clock = fn (): int => VECTOR_TIME;
    putenv('ERRANDS_WEBHOOK_SECRET=' . OTHER_SECRET . ', ' . SECRET);
    same('msg_p5jXN8AQM9LWM0D4loKWxJek', (new Webhook(clock: $clock))->authenticate(VECTOR_BODY, VECTOR_HEADERS));
    putenv('ERRANDS_WEBHOOK_SECRET');
    $file = tempnam(sys_get_temp_dir(), 'secret');
    file_put_contents($file, SECRET . "\n");
    putenv("ERRANDS_WEBHOOK_SECRET_FILE=$file");
    same('msg_p5jXN8AQM9LWM0D4loKWxJek', (new Webhook(clock: $clock))->authenticate(VECTOR_BODY, VECTOR_HEADERS));
    putenv('ERRANDS_WEBHOOK_SECRET_FILE');
    unlink($file);
});

// --- for tests of applications

test('a fake client says what was sent, and what was not', function (): void {
    $errands = new FakeClient();
    $errands->assertNothingSent();
    $id = $errands->emit(Job::image()->output('a.webp', widthPx: 40)->withSubject('order-1042'));
    $errands->emit(Job::of('shop.picture.requested.v1', ['a' => 1])->withId('p'));
    foreach ([ImageJob::class, 'image', 'dev.errands.image.requested.v1', Job::class] as $type) {
        $errands->assertSent($type);
    }
    $errands->assertSent('image', fn (Job $job): bool => $job->subject === 'order-1042', times: 1);
    $errands->assertNotSent('image', fn (Job $job): bool => $job->subject === 'another');
    same([$id, 'p'], array_map(fn (Job $job): string => $job->id, $errands->sent()));
    same('https://shop.example/orders', $errands->sent()[0]->source);
    foreach ([
        fn () => $errands->assertNothingSent(),
        fn () => $errands->assertSent('message'),
        fn () => $errands->assertSent('image', times: 2),
        fn () => $errands->assertSent('image', fn (Job $job): bool => false),
        fn () => $errands->assertNotSent('image'),
    ] as $wrong) {
        throws(AssertionError::class, "got dev.errands.image.requested.v1 $id, shop.picture.requested.v1 p", $wrong);
    }
});

test('a fake client\'s jobs wait until they have ended', function (): void {
    $errands = new FakeClient();
    $id = $errands->emit(Job::ics());
    same([true, 'waiting'], [$errands->status($id)->isOpen(), $errands->wait($id)->state]);
    $made = ['name' => 'a.ics', 'url' => '/a', 'media_type' => 'text/calendar', 'sha256' => '', 'key' => 'k', 'size_bytes' => 1];
    $errands->ends($id, result: ['artifacts' => [$made]]);
    same(['completed', 'a.ics'], [$errands->status($id)->state, $errands->status($id)->artifacts()[0]->name]);
    throws(TooLate::class, 'completed', fn () => $errands->cancel($id));
    throws(UnknownJob::class, 'nobody', fn () => $errands->status('nobody'));
    $other = $errands->emit(Job::ics()->withId('other'));
    same('cancelled', $errands->cancel($other)->state);
    same('waiting', $errands->retry($other)->state);
    $errands->assertCancelled('other');
    $errands->assertRetried('other');
    throws(AssertionError::class, "job $id", fn () => $errands->assertCancelled($id));
});

test('a fake client refuses what could not be sent, and fails when it is told to', function (): void {
    $errands = new FakeClient();
    throws(InvalidJob::class, 'JSON', fn () => $errands->emit(Job::ics(['n' => NAN])));
    $errands->failWith(new Unreachable('down', '', 0, 4));
    throws(Unreachable::class, 'down', fn () => $errands->emit(Job::ics()));
    $errands->failWith(null)->emit(Job::ics());
});

test('a fake client keeps what was uploaded', function (): void {
    $errands = new FakeClient();
    $file = tmpfile();
    fwrite($file, 'content');
    same('uploads/' . hash('sha256', 'content') . '/a.txt', $errands->upload($file, 'a.txt'));
    $errands->assertUploaded('a.txt', 'content');
    throws(AssertionError::class, 'got a.txt', fn () => $errands->assertUploaded('a.txt', 'other'));
});

test('callbacks of tests are signed as those of Errands', function (): void {
    $signer = new CallbackSigner();
    $job = Job::image()->withId('1')->withSubject('order-1042')->withExtension('correlationid', 'c')->priority('low');
    foreach (['completed' => [], 'failed' => ['no such picture'], 'deadlettered' => ['the store is down']] as $outcome => $told) {
        $signed = $signer->{$outcome}($job, ...$told);
        $callback = (new Webhook($signer->secret))->verify($signed->body, $signed->headers);
        same([$outcome, 'image', '1', 'order-1042', 'c'],
            [$callback->outcome, $callback->job, $callback->jobId, $callback->subject, $callback->correlationId]);
        same($told[0] ?? null, $callback->reason());
        same($callback->id, (new Webhook($signer->secret))->authenticate($signed->body, $signed->server()));
        same(false, str_contains($signed->body, 'priority'));
    }
    throws(InvalidSignature::class, 'no signature', fn () => (new Webhook(SECRET))->verify($signed->body, $signed->headers));
    $old = $signer->sign('{}', 'x', time() - 301);
    throws(InvalidSignature::class, 's old', fn () => (new Webhook($signer->secret))->verify('{}', $old->headers));
});

// --- a flow

test('a flow is written as the contract\'s sample is', function (): void {
    $flow = Flow::named('import')
        ->input(['file' => 'uploads/products.csv'])
        ->call('rows', 'read-rows', ['file' => Flow::ref('input.file')], undo: 'forget-rows')
        ->each('pictures', Flow::ref('rows'), 'image', [
            'source' => ['url' => Flow::ref('item.picture')],
            'outputs' => [['name' => 'thumb.jpg', 'width_px' => 200]],
        ], atOnce: 20, allowFailures: 3)
        ->then('done', call: 'import-done', data: ['pictures' => Flow::ref('pictures')])
        ->onFailure('import-failed', ['why' => Flow::ref('failure.detail')])
        ->result(['count' => Flow::ref('done.count')]);
    $event = json_decode(sample('dev.errands.graph.requested.v1'), true);
    same([$event['type'], sorted($event['data'])], [$flow->toJob()->type, sorted($flow->toJob()->data)]);
});

test('a step more is another flow, and leaves the one before as it is', function (): void {
    $flow = Flow::named('a')->wait('paid', 'paid', within: '7d');
    $more = $flow->sleep('rest', 48, after: ['paid'])->job('file', 'ics', ['events' => []], more: ['undo' => 'forget']);
    same([1, 3], [count($flow->toJob()->data['steps']), count($more->toJob()->data['steps'])]);
    same(['name' => 'rest', 'hours' => 48.0, 'after' => ['paid']], $more->toJob()->data['steps'][1]);
});

// --- the client

test('a client takes http and https only, and no password in the address', function (): void {
    foreach (['file:///etc/passwd', 'gopher://x', 'localhost:8080', 'http://', ''] as $sink) {
        throws(InvalidArgumentException::class, 'http or https', fn () => new Client('/shop', sink: $sink));
    }
    throws(InvalidArgumentException::class, 'use token', fn () => new Client('/shop', sink: 'http://me:secret@host/'));
    throws(InvalidArgumentException::class, 'printable', fn () => new Client('/shop', token: "a\r\nX: y"));
});

echo "\n$passed passed, " . count($failures) . " failed\n";
exit($failures === [] ? 0 : 1);
