<?php

declare(strict_types=1);

namespace Errands\Jobs;

/** Begins a job of each type: `Job::image()`, or `Job::image([...])` with the data as an array. */
trait Factories
{
    /**
     * Make one calendar file (RFC 5545) of events, to-dos or free/busy times; with `separate` one for each of them.
     *
     * @param array<string, mixed> $data fields that are known already
     */
    public static function ics(array $data = []): IcsJob
    {
        return IcsJob::made(IcsJob::TYPE, $data);
    }

    /**
     * Decode one picture once and make every output of it.
     *
     * @param array<string, mixed> $data fields that are known already
     */
    public static function image(array $data = []): ImageJob
    {
        return ImageJob::made(ImageJob::TYPE, $data);
    }

    /**
     * Render a built-in template, or `own`, with data; the schema of a template's data is told by its README.
     *
     * @param array<string, mixed> $data fields that are known already
     */
    public static function report(array $data = []): ReportJob
    {
        return ReportJob::made(ReportJob::TYPE, $data);
    }

    /**
     * Send one e-mail to all of `to`, `cc` and `bcc`, or one notification to a configured `target` (chat, push).
     *
     * `html` is the alternative to `text`. With `fill`, subject, text and html are Jinja2 templates.
     *
     * @param array<string, mixed> $data fields that are known already
     */
    public static function message(array $data = []): MessageJob
    {
        return MessageJob::made(MessageJob::TYPE, $data);
    }

    /**
     * The file behind the URL, or all its `pages`, kept under `name`.
     *
     * @param array<string, mixed> $data fields that are known already
     */
    public static function fetch(array $data = []): FetchJob
    {
        return FetchJob::made(FetchJob::TYPE, $data);
    }

    /**
     * Say something to the flow whose request has this id, and the source of this event.
     *
     * Three names are ours: `cancel` ends the flow, which undoes what it has done; `resume` has one that is held go on;
     * `complete` tells the end of a call that was answered 202 (`data` is a StepDone). Said before the flow has begun,
     * it
     * is kept for it.
     *
     * @param array<string, mixed> $data fields that are known already
     */
    public static function signal(array $data = []): SignalJob
    {
        return SignalJob::made(SignalJob::TYPE, $data);
    }
}
