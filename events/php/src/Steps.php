<?php

declare(strict_types=1);

namespace Errands;

/**
 * Answers the steps of flows that the API does itself, each once.
 *
 *     $steps = new Steps(getenv('ERRANDS_WEBHOOK_SECRET'), $pdo);
 *     $steps->on('create-account', fn (Step $step) => ['id' => $accounts->create($step->data['email'])]);
 *     $steps->answerGlobals();
 *
 * The handler and the note that the step is done are one transaction of `$pdo`: what the handler writes there is written
 * once, however often the step comes. What it does elsewhere must bear a second time, by the step's key.
 */
final class Steps
{
    private const BODY_LIMIT_BYTES = 10 * 1024 * 1024;

    private readonly Webhook $webhook;
    /** @var array<string, \Closure> */
    private array $handlers = [];

    /** @param string|list<string>|Webhook $secrets `whsec_...`; several while a secret is being replaced */
    public function __construct(#[\SensitiveParameter] string|array|Webhook $secrets, private readonly \PDO $pdo)
    {
        $this->webhook = $secrets instanceof Webhook ? $secrets : new Webhook($secrets);
        $pdo->setAttribute(\PDO::ATTR_ERRMODE, \PDO::ERRMODE_EXCEPTION);
    }

    /** Makes the table `errands_steps`, where it is not there: for a migration. */
    public static function install(\PDO $pdo): void
    {
        $pdo->exec('CREATE TABLE IF NOT EXISTS errands_steps (id VARCHAR(200) PRIMARY KEY, answer TEXT NOT NULL)');
    }

    /** @param callable(Step): mixed $handler returns what JSON can say, or a Later; throws StepRefused */
    public function on(string $name, callable $handler): self
    {
        $this->handlers[$name] = $handler(...);
        return $this;
    }

    /** Answer the request that PHP is answering, and send the answer. */
    public function answerGlobals(): void
    {
        $body = (string) file_get_contents('php://input', length: self::BODY_LIMIT_BYTES);
        [$status, $answer] = $this->answer($body, $_SERVER);
        http_response_code($status);
        header('content-type: application/' . ($status < 300 ? 'json' : 'problem+json'));
        echo $answer;
    }

    /**
     * The status and the body that answer a request. What a handler throws besides StepRefused passes through: the
     * step is asked for again.
     *
     * @param array<mixed> $headers
     * @return array{int, string}
     */
    public function answer(string $body, array $headers): array
    {
        try {
            $step = Step::fromJson($body, $this->webhook->authenticate($body, $headers));
        } catch (InvalidSignature $error) {
            return self::problem(401, 'invalid-signature', $error->getMessage());
        } catch (InvalidCallback $error) {
            return self::problem(400, 'not-a-step', $error->getMessage());
        }
        $handler = $this->handlers[$step->name] ?? null;
        return $handler === null
            ? self::problem(404, 'unknown-step', "no step '{$step->name}' is known here")
            : $this->once($step, $handler);
    }

    /** @return array{int, string} */
    private function once(Step $step, \Closure $handler): array
    {
        $this->pdo->beginTransaction();
        try {
            if (!$this->claim($step->key)) {
                $this->pdo->rollBack();
                return $this->known($step->key);
            }
            $answer = self::answered($step, $handler);
            $this->pdo->prepare('UPDATE errands_steps SET answer = ? WHERE id = ?')
                ->execute([json_encode($answer, JSON_THROW_ON_ERROR), $step->key]);
            $this->pdo->commit();
            return $answer;
        } catch (StepRefused $refused) {
            $this->pdo->rollBack();
            return self::problem(422, $refused->kind, $refused->getMessage());
        } catch (\Throwable $error) {
            $this->pdo->rollBack();
            throw $error;
        }
    }

    /** Whether this attempt is the one that does the step. Another one at the same time waits here for its end. */
    private function claim(string $key): bool
    {
        $found = $this->pdo->prepare('SELECT answer FROM errands_steps WHERE id = ?');
        $found->execute([$key]);
        if ($found->fetchColumn() !== false) {
            return false;
        }
        try {
            $this->pdo->prepare("INSERT INTO errands_steps (id, answer) VALUES (?, '')")->execute([$key]);
        } catch (\PDOException $error) {
            if (str_starts_with((string) $error->getCode(), '23')) { // the other one has committed
                return false;
            }
            throw $error;
        }
        return true;
    }

    /** @return array{int, string} */
    private function known(string $key): array
    {
        $found = $this->pdo->prepare('SELECT answer FROM errands_steps WHERE id = ?');
        $found->execute([$key]);
        return json_decode((string) $found->fetchColumn(), true, flags: JSON_THROW_ON_ERROR);
    }

    /** @return array{int, string} */
    private static function answered(Step $step, \Closure $handler): array
    {
        $result = $handler($step);
        return $result instanceof Later
            ? [202, '']
            : [200, json_encode($result, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE)];
    }

    /** @return array{int, string} */
    private static function problem(int $status, string $kind, string $detail): array
    {
        $title = ucfirst(str_replace('-', ' ', $kind));
        $fields = ['type' => "https://errands.dev/problems/$kind", 'title' => $title, 'detail' => $detail];
        return [$status, json_encode($fields, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE)];
    }
}
