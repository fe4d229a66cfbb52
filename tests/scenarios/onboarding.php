<?php

declare(strict_types=1);

// The shop of the onboarding scenario, for `php -S`: it does the flow's steps, and notes what it did.

require __DIR__ . '/../../events/php/src/autoload.php';

use Errands\Step;
use Errands\StepRefused;
use Errands\Steps;
use Errands\Webhook;

$pdo = new PDO('sqlite:' . getenv('STEPS_DATABASE'), options: [PDO::ATTR_TIMEOUT => 30]);
Steps::install($pdo);
$pdo->exec('CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, email TEXT, room INTEGER DEFAULT 0)');
$pdo->exec('CREATE TABLE IF NOT EXISTS done (step TEXT, email TEXT)');
$note = fn (string $step, string $email) => $pdo->prepare('INSERT INTO done VALUES (?, ?)')->execute([$step, $email]);
$email = function (string $id) use ($pdo): string {
    $found = $pdo->prepare('SELECT email FROM accounts WHERE id = ?');
    $found->execute([$id]);
    return (string) $found->fetchColumn();
};

$steps = new Steps(new Webhook(), $pdo);
$steps->on('create-account', function (Step $step) use ($pdo, $note): array {
    $note('create-account', $step->data['email']);
    $pdo->prepare('INSERT INTO accounts (email) VALUES (?)')->execute([$step->data['email']]);
    return ['id' => $pdo->lastInsertId()];
});
$steps->on('delete-account', function (Step $step) use ($pdo, $note): void {
    $note('delete-account', $step->data['email']);
    $pdo->prepare('DELETE FROM accounts WHERE email = ?')->execute([$step->data['email']]);
});
$steps->on('provision', function (Step $step) use ($pdo, $note, $email): void {
    if (str_starts_with($email($step->data['account']), 'full')) {
        throw new StepRefused('no-room', 'all servers are full');
    }
    $note('provision', $email($step->data['account']));
    $pdo->prepare('UPDATE accounts SET room = 1 WHERE id = ?')->execute([$step->data['account']]);
});
$steps->on('tear-down', fn (Step $step) => $note('tear-down', $email($step->data['account'])));
$steps->on('activity', function (Step $step) use ($note, $email): array {
    $note('activity', $email($step->data['account']));
    return ['active' => str_starts_with($email($step->data['account']), 'busy')];
});
$steps->answerGlobals();
