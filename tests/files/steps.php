<?php

declare(strict_types=1);

// An API that does steps of flows, for `php -S`: STEPS_DATABASE is an SQLite file, ERRANDS_WEBHOOK_SECRET the secret.

require __DIR__ . '/../../events/php/src/autoload.php';

use Errands\Later;
use Errands\Step;
use Errands\StepRefused;
use Errands\Steps;

$pdo = new PDO('sqlite:' . getenv('STEPS_DATABASE'), options: [PDO::ATTR_TIMEOUT => 30]);
Steps::install($pdo);
$pdo->exec('CREATE TABLE IF NOT EXISTS accounts (email TEXT)');

$steps = new Steps(getenv('ERRANDS_WEBHOOK_SECRET'), $pdo);
$steps->on('create-account', function (Step $step) use ($pdo): array {
    $pdo->prepare('INSERT INTO accounts VALUES (?)')->execute([$step->data['email']]);
    return ['id' => 'acc-' . $pdo->query('SELECT count(*) FROM accounts')->fetchColumn()];
});
$steps->on('delete-account', fn (Step $step) => ['undoes' => $step->undoes, 'result' => $step->result]);
$steps->on('no-room', fn () => throw new StepRefused('no-room', 'all servers are full'));
$steps->on('later', fn () => new Later());
$steps->on('broken', function () use ($pdo): never {
    $pdo->exec("INSERT INTO accounts VALUES ('half done')");
    throw new LogicException('a bug');
});
$steps->answerGlobals();
