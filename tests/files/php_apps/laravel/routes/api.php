<?php

declare(strict_types=1);

use App\Models\Order;
use Errands\ClientInterface;
use Errands\InvalidCallback;
use Errands\InvalidSignature;
use Errands\Job;
use Errands\Webhook;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Route;

Route::post('/orders', function (Request $request, ClientInterface $client) {
    $job = Job::of('dev.errands.ics.requested.v1', $request->json()->all())
        ->withCallbackUrl(config('app.url') . '/callbacks');
    DB::transaction(function () use ($client, $job) {
        Order::create(['errand_id' => $job->id]);
        DB::afterCommit(fn () => $client->emit($job));
    });
    return response()->json(['id' => $job->id], 202);
});

Route::get('/orders/{id}', fn (string $id) => response()->json(
    ['outcome' => Order::where('errand_id', $id)->first()?->outcome],
));

// {{ the README's second snippet }}
