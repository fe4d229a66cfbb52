<?php

declare(strict_types=1);

namespace Errands\Example;

use Errands\Input;

/** The page's forms as the data of a job. Errands checks the data; here only what it could not tell is refused. */
final class Forms
{
    public const JOBS = [
        'ics' => 'Calendar invite',
        'image' => 'Resize a picture',
        'report' => 'Invoice as PDF',
        'message' => 'E-mail',
    ];
    // What Errands takes as a file; larger pictures go by URL.
    public const PICTURE_LIMIT_BYTES = 32 * 1024 * 1024;

    /**
     * @param array<string, string> $form
     * @param array<string, mixed>  $files as $_FILES
     * @param \Closure(string, string): string $upload hands a file over, by its path and name, and returns its key
     * @return array<string, mixed>
     * @throws \DomainException with a sentence for the person
     */
    public static function data(string $job, array $form, array $files, \Closure $upload): array
    {
        return match ($job) {
            'ics' => self::ics($form),
            'image' => self::image($form, $files['picture'] ?? [], $upload),
            'report' => self::report($form),
            'message' => self::message($form),
            default => throw new \DomainException('job must be one of ' . implode(', ', array_keys(self::JOBS))),
        };
    }

    /**
     * What the list calls the job.
     *
     * @param array<string, mixed> $data
     */
    public static function title(string $job, array $data, string $file = ''): string
    {
        $data = json_decode((string) json_encode($data), true) ?: [];
        $text = static fn (mixed $value): string => is_scalar($value) ? (string) $value : '';
        $title = match ($job) {
            'ics' => $data['events'][0]['summary'] ?? $data['name'] ?? '',
            'image' => $file !== '' ? $file : $data['source']['url'] ?? $data['source']['key'] ?? '',
            'report' => trim(ucfirst($text($data['template'] ?? '')) . ' ' . $text($data['data']['number'] ?? '')),
            'message' => $data['subject'] ?? '',
            default => '',
        };
        return is_string($title) && $title !== '' ? $title : self::JOBS[$job] ?? $job;
    }

    /**
     * @param array<string, string> $form
     * @return array<string, mixed>
     */
    private static function ics(array $form): array
    {
        $guest = self::field($form, 'guest');
        $event = array_filter([
            'summary' => self::required($form, 'summary', 'a title'),
            'start' => self::seconds(self::required($form, 'start', 'a start')),
            'end' => self::seconds(self::field($form, 'end')),
            'timezone' => self::field($form, 'timezone'),
            'location' => self::field($form, 'location'),
        ], static fn (string $value): bool => $value !== '');
        if ($guest === '') {
            return ['name' => 'event.ics', 'events' => [$event]];
        }
        $people = ['organizer' => ['email' => 'events@shop.example'], 'attendees' => [['email' => $guest]]];
        return ['name' => 'invite.ics', 'method' => 'request', 'events' => [$event + $people]];
    }

    /**
     * @param array<string, string> $form
     * @param array<string, mixed>  $file
     * @param \Closure(string, string): string $upload
     * @return array<string, mixed>
     */
    private static function image(array $form, array $file, \Closure $upload): array
    {
        $error = $file['error'] ?? UPLOAD_ERR_NO_FILE;
        $tooLarge = in_array($error, [UPLOAD_ERR_INI_SIZE, UPLOAD_ERR_FORM_SIZE], true);
        if ($tooLarge || ($file['size'] ?? 0) > self::PICTURE_LIMIT_BYTES) {
            $limit = Page::size(self::pictureLimitBytes());
            throw new \DomainException("The picture is too large: at most $limit are taken.");
        }
        if ($error !== UPLOAD_ERR_OK || !is_uploaded_file((string) $file['tmp_name'])) {
            throw new \DomainException('Choose a picture to resize.');
        }
        $width = filter_var(self::field($form, 'width'), FILTER_VALIDATE_INT, ['options' => ['min_range' => 1]]);
        if ($width === false) {
            throw new \DomainException('The width must be a whole number of pixels.');
        }
        return [
            'source' => Input::key($upload((string) $file['tmp_name'], (string) $file['name'])),
            'outputs' => [
                ['name' => 'picture.webp', 'format' => 'webp', 'width_px' => $width],
                ['name' => 'thumbnail.jpg', 'mode' => 'fill', 'width_px' => 200, 'height_px' => 200],
            ],
        ];
    }

    /**
     * @param array<string, string> $form
     * @return array<string, mixed>
     */
    private static function report(array $form): array
    {
        $quantity = filter_var(self::required($form, 'quantity', 'a quantity'), FILTER_VALIDATE_FLOAT);
        if ($quantity === false) {
            throw new \DomainException('The quantity must be a number.');
        }
        $address = array_map(trim(...), explode("\n", self::field($form, 'address')));
        $seller = ['name' => 'Shop GmbH', 'address' => ['Hauptstraße 1', '10115 Berlin'], 'vat_id' => 'DE123456789'];
        return [
            'template' => 'invoice',
            'data' => [
                'number' => self::required($form, 'number', 'an invoice number'),
                'issued' => gmdate('Y-m-d'),
                'due' => gmdate('Y-m-d', time() + 14 * 86_400),
                'currency' => 'EUR',
                'seller' => $seller,
                'buyer' => [
                    'name' => self::required($form, 'buyer', 'a customer'),
                    'address' => array_values(array_filter($address)),
                ],
                'lines' => [[
                    'description' => self::required($form, 'description', 'what was sold'),
                    'quantity' => $quantity,
                    'unit_price' => self::required($form, 'price', 'a price'),
                    'tax_percent' => '19',
                ]],
            ],
            'outputs' => [['name' => 'invoice.pdf', 'format' => 'pdf']],
        ];
    }

    /**
     * @param array<string, string> $form
     * @return array<string, mixed>
     */
    private static function message(array $form): array
    {
        $to = preg_split('/[\s,;]+/', self::required($form, 'to', 'an address'), -1, PREG_SPLIT_NO_EMPTY) ?: [];
        return [
            'to' => $to,
            'subject' => self::required($form, 'topic', 'a subject'),
            'text' => self::required($form, 'text', 'a text'),
        ];
    }

    /**
     * The order that a job is for, where the form asks for it.
     *
     * @param array<string, string> $form
     */
    public static function order(array $form): ?string
    {
        return self::field($form, 'order') ?: null;
    }

    public static function pictureLimitBytes(): int
    {
        $allowed = (string) ini_get('upload_max_filesize');
        $unit = ['K' => 1 << 10, 'M' => 1 << 20, 'G' => 1 << 30][strtoupper(substr($allowed, -1))] ?? 1;
        return min(self::PICTURE_LIMIT_BYTES, (int) $allowed * $unit);
    }

    /** @param array<string, string> $form */
    private static function required(array $form, string $name, string $noun): string
    {
        $value = self::field($form, $name);
        return $value !== '' ? $value : throw new \DomainException("Enter $noun.");
    }

    /** @param array<string, string> $form */
    private static function field(array $form, string $name): string
    {
        return trim(str_replace("\r\n", "\n", is_string($form[$name] ?? null) ? $form[$name] : ''));
    }

    /** A browser sends 2026-12-01T14:00, the contract has seconds. */
    private static function seconds(string $time): string
    {
        return preg_match('/^\d{4}-\d\d-\d\dT\d\d:\d\d$/D', $time) === 1 ? "$time:00" : $time;
    }
}
