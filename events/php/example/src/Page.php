<?php

declare(strict_types=1);

namespace Errands\Example;

/** The one page: the forms, and the jobs with what became of them. Everything goes through h(). */
final class Page
{
    private const STATES = [
        'unsent' => 'Not sent',
        'accepted' => 'Accepted',
        'completed' => 'Completed',
        'failed' => 'Failed',
        'deadlettered' => 'Dead-lettered',
    ];
    private const ZONES = ['Europe/Berlin', 'Europe/London', 'Europe/Warsaw', 'America/New_York', 'Asia/Tokyo', 'UTC'];

    private readonly string $chosen;

    /**
     * @param list<array<string, mixed>> $records
     * @param array<mixed>               $entered what the person sent, when it was refused
     */
    public function __construct(
        private readonly array $records,
        string $chosen,
        private readonly string $error,
        private readonly string $warning,
        private readonly array $entered,
    ) {
        $this->chosen = isset(Forms::JOBS[$chosen]) ? $chosen : 'ics';
    }

    public function html(): string
    {
        $summary = self::h($this->summary());
        $rows = implode("\n", array_map($this->row(...), $this->records));
        return <<<HTML
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <title>Errands example</title>
            <link rel="icon" href="/icon.svg" type="image/svg+xml">
            <link rel="stylesheet" href="/style.css">
            <script src="/live.js" defer></script>
            </head>
            <body>
            <header class="top">
              <img src="/icon.svg" alt="" width="32" height="32">
              <div><h1>Errands example</h1><p>A PHP API that hands its slow work over and hears back.</p></div>
            </header>
            <main>
            <section class="order" aria-labelledby="order-title">
              <h2 id="order-title">New job</h2>
              {$this->notes()}
              {$this->picker()}
              {$this->forms()}
            </section>
            <section class="list" aria-labelledby="jobs-title">
              <div class="list-head">
                <h2 id="jobs-title">Jobs</h2>
                <p id="summary" role="status">$summary</p>
                <noscript><a href="/?job={$this->chosen}">Reload</a></noscript>
              </div>
              <ol id="jobs">$rows</ol>
              <p id="empty">Nothing yet. Order something: the answer comes at once, the outcome a moment later.</p>
            </section>
            </main>
            </body>
            </html>
            HTML;
    }

    /**
     * Those of other servers that the page loads from: pictures that jobs made, and streams of jobs that are not done.
     *
     * @return list<string>
     */
    public function origins(): array
    {
        $urls = array_column($this->records, 'stream');
        foreach ($this->records as $record) {
            $urls[] = self::picture($record['artifacts'])['url'] ?? null;
        }
        return array_values(array_unique(array_filter(array_map(self::origin(...), $urls))));
    }

    /** Scheme, host and port of an address of http; '' of anything else. */
    public static function origin(?string $url): string
    {
        return preg_match('#^https?://[a-z0-9.:\[\]-]+(?=/|$)#i', (string) $url, $found) === 1 ? $found[0] : '';
    }

    public static function size(int $bytes): string
    {
        return match (true) {
            $bytes < 1000 => "$bytes B",
            $bytes < 1_000_000 => round($bytes / 1000, 1) . ' kB',
            default => round($bytes / 1_000_000, 1) . ' MB',
        };
    }

    private static function h(mixed $text): string
    {
        return htmlspecialchars(is_scalar($text) ? (string) $text : '', ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5);
    }

    private function summary(): string
    {
        $counts = array_count_values(array_column($this->records, 'state'));
        $parts = [];
        foreach (self::STATES as $state => $name) {
            if (isset($counts[$state])) {
                $parts[] = "{$counts[$state]} " . strtolower($name);
            }
        }
        return implode(', ', $parts) ?: 'none';
    }

    private function notes(): string
    {
        $error = $this->error === '' ? '' : '<p class="note bad" role="alert">' . self::h($this->error) . '</p>';
        return $error . ($this->warning === '' ? '' : '<p class="note warn">' . self::h($this->warning) . '</p>');
    }

    /** Radio buttons that show one form by style sheet alone. */
    private function picker(): string
    {
        $html = '<fieldset class="picker"><legend class="unseen">What is to be done</legend>';
        foreach (Forms::JOBS as $job => $name) {
            $checked = $job === $this->chosen ? ' checked' : '';
            $radio = "<input type=\"radio\" name=\"pick\" id=\"pick-$job\"$checked>";
            $html .= "<label>$radio " . self::h($name) . '</label>';
        }
        return "$html</fieldset>";
    }

    private function forms(): string
    {
        $limit = self::size(Forms::pictureLimitBytes());
        $day = gmdate('Y-m-d', time() + 86_400);
        return $this->form('ics', 'Make the invite', $this->input('summary', 'Title', 'Project kick-off')
                . $this->input('start', 'Start', "{$day}T14:00", 'type="datetime-local" required')
                . $this->input('end', 'End', "{$day}T15:00", 'type="datetime-local"')
                . '<div class="two">' . $this->input('timezone', 'Time zone', 'Europe/Berlin', 'list="zones"')
                . $this->input('location', 'Place', 'Room 4', '') . '</div>'
                . $this->input('guest', 'Guest’s e-mail (optional)', '', 'type="email"') . $this->zones())
            . $this->form('image', 'Resize', $this->input('order', 'For order (optional)', 'order-1042', '')
                . "<label>Picture <small>JPEG, PNG, WebP; at most $limit</small>"
                . '<input type="file" name="picture" accept="image/*" required></label>'
                . $this->input('width', 'Width in pixels', '800', 'type="number" min="1" max="16384" required'))
            . $this->form('report', 'Make the invoice', '<div class="two">'
                . $this->input('number', 'Invoice number', '2026-1042')
                . $this->input('buyer', 'Customer', 'Client Ltd') . '</div>'
                . $this->area('address', 'Address', "1 High Street\nLondon", 2)
                . $this->input('description', 'Item', 'Consulting, November') . '<div class="two">'
                . $this->input('quantity', 'Quantity', '12.5', 'type="number" step="any" required')
                . $this->input('price', 'Price each (EUR)', '95.00', 'inputmode="decimal" required') . '</div>')
            . $this->form('message', 'Send', $this->input('to', 'To', 'lee@client.example')
                . $this->input('topic', 'Subject', 'Your order 1042 is on its way')
                . $this->area('text', 'Text', "Hello Lee,\n\nyour order 1042 left our warehouse today.\n", 6));
    }

    private function form(string $job, string $verb, string $fields): string
    {
        $name = self::h(Forms::JOBS[$job]);
        return "<form id=\"form-$job\" method=\"post\" action=\"/jobs\" enctype=\"multipart/form-data\">"
            . "<h3 class=\"unseen\">$name</h3><input type=\"hidden\" name=\"job\" value=\"$job\">"
            . "$fields<button>" . self::h($verb) . '</button></form>';
    }

    private function input(string $name, string $label, string $default, string $more = 'required'): string
    {
        $value = self::h($this->entered[$name] ?? $default);
        return '<label>' . self::h($label) . "<input name=\"$name\" value=\"$value\" $more></label>";
    }

    private function area(string $name, string $label, string $default, int $rows): string
    {
        $value = self::h($this->entered[$name] ?? $default);
        return '<label>' . self::h($label) . "<textarea name=\"$name\" rows=\"$rows\">\n$value</textarea></label>";
    }

    private function zones(): string
    {
        $options = array_map(static fn (string $zone): string => "<option value=\"$zone\">", self::ZONES);
        return '<datalist id="zones">' . implode('', $options) . '</datalist>';
    }

    /** @param array<string, mixed> $record */
    private function row(array $record): string
    {
        $state = isset(self::STATES[$record['state']]) ? $record['state'] : 'unsent';
        $parts = [Forms::JOBS[$record['job']] ?? $record['job'], $record['subject'], $this->took($record)];
        $meta = implode(' · ', array_map(self::h(...), array_filter($parts)));
        $key = hash('sha256', "{$record['source']}\n{$record['id']}");
        $link = '/jobs/' . rawurlencode($record['id']);
        $time = self::h(substr($record['created'], 11, 8));
        $stream = $state === 'accepted' && self::origin($record['stream'] ?? null) !== ''
            ? ' data-stream="' . self::h($record['stream']) . '"' : '';
        return "<li id=\"job-$key\" class=\"$state\" data-version=\"" . md5((string) json_encode($record)) . "\"$stream>"
            . "<div class=\"row\"><h3>{$this->h($record['title'])}</h3>"
            . "<span class=\"badge\">{$this->h(self::STATES[$state])}</span></div>"
            . "<p class=\"meta\">$meta · <time datetime=\"{$this->h($record['created'])}\">$time UTC</time> · "
            . "<a href=\"{$this->h($link)}\">JSON</a></p>"
            . ($stream === '' ? '' : '<p class="live" aria-live="polite" hidden></p>')
            . $this->thumbnail($record['artifacts']) . $this->files($record['artifacts']) . $this->reason($record, $state) . '</li>';
    }

    /** @param array<string, mixed> $record */
    private function took(array $record): ?string
    {
        if (!in_array($record['state'], ['completed', 'failed', 'deadlettered'], true)) {
            return null;
        }
        $seconds = (float) (new \DateTimeImmutable($record['updated']))->format('U.u')
            - (float) (new \DateTimeImmutable($record['created']))->format('U.u');
        return 'took ' . ($seconds < 60 ? number_format($seconds, 1) . ' s' : round($seconds / 60) . ' min');
    }

    /**
     * The smallest picture among the files.
     *
     * @param list<array<string, mixed>> $artifacts
     * @return ?array<string, mixed>
     */
    private static function picture(array $artifacts): ?array
    {
        $pictures = array_filter($artifacts, static fn (array $each): bool => self::origin($each['url']) !== ''
            && preg_match('#^image/(jpeg|png|webp|gif|avif)$#D', (string) $each['media_type']) === 1);
        usort($pictures, static fn (array $a, array $b): int => $a['size_bytes'] <=> $b['size_bytes']);
        return $pictures[0] ?? null;
    }

    /** @param list<array<string, mixed>> $artifacts */
    private function thumbnail(array $artifacts): string
    {
        $picture = self::picture($artifacts);
        return $picture === null
            ? '' : '<img class="thumbnail" src="' . self::h($picture['url']) . '" alt="" width="96" height="96">';
    }

    /** @param list<array<string, mixed>> $artifacts */
    private function files(array $artifacts): string
    {
        $html = '';
        foreach ($artifacts as $each) {
            $name = self::h($each['name']);
            // An address of another scheme (javascript:, file:) is told, never linked.
            $web = preg_match('#^https?://#i', (string) $each['url']) === 1;
            $link = $web ? '<a href="' . self::h($each['url']) . "\" rel=\"noopener\">$name</a>" : "<span>$name</span>";
            $sides = isset($each['width_px'], $each['height_px']) ? "{$each['width_px']} × {$each['height_px']}" : '';
            $type = explode(';', (string) $each['media_type'])[0];
            $about = implode(' · ', array_filter([$sides, $type, self::size((int) $each['size_bytes'])]));
            $html .= "<li>$link <small>" . self::h($about) . '</small></li>';
        }
        return $html === '' ? '' : "<ul class=\"files\">$html</ul>";
    }

    /** @param array<string, mixed> $record */
    private function reason(array $record, string $state): string
    {
        $lines = '';
        foreach ($record['errors'] as $each) {
            $lines .= '<li><code>' . self::h($each['pointer']) . '</code> ' . self::h($each['detail']) . '</li>';
        }
        $reason = $lines === '' && $record['reason'] !== null ? '<p>' . self::h($record['reason']) . '</p>' : '';
        if ($state === 'deadlettered') {
            $reason .= '<p><small>Errands keeps the job: once mended and replayed it can still complete.</small></p>';
        }
        $list = $lines === '' ? '' : "<ul>$lines</ul>";
        return $reason . $list === '' ? '' : "<div class=\"reason\">$reason$list</div>";
    }
}
